//! What the files of a folder say together: who has which object, and which files can't be taken.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use k8s_openapi::api::core::v1::{Namespace, Node};
use knap_api::{Network, NetworkClass};

use super::scan::{self, Files};
use super::{BrokenManifest, FILE_ANNOTATION, FolderError, Manifest, parse};
use crate::store::{Kind, Labels, ObjectName, Store, StoreError};

/// A folder's objects, and the files that can't be taken.
#[derive(Debug, Default)]
pub struct Contents {
    /// Each with the file that it is in.
    pub manifests: Vec<(String, Manifest)>,
    /// With the reasons.
    pub broken: Vec<BrokenManifest>,
}

impl Contents {
    /// Reads a folder as [`super::Folder`] does, leaving out the files in `without`.
    pub fn read(folder: &Path, without: &[&Path]) -> Result<Self, FolderError> {
        let failure = |source: io::Error| FolderError::Read { path: folder.to_owned(), source };
        let mut files = scan::files(folder).map_err(failure)?;
        let without: Vec<_> = without.iter().filter_map(|path| path.canonicalize().ok()).collect();
        files.retain(|name, _| !folder.join(name).canonicalize().is_ok_and(|path| without.contains(&path)));
        Ok(Self::of(&files, &Owners::default()))
    }

    /// Sorts out what the files say. An object that is in two files belongs to the one that it is served from, also while that
    /// one can't be read, or else to the first by name; the other is broken.
    pub(super) fn of(files: &Files, owners: &Owners) -> Self {
        let parsed: Parsed = files
            .iter()
            .map(|(file, text)| {
                let manifests = text.clone().and_then(|text| parse(&text).map_err(|error| error.to_string()));
                (file.clone(), manifests)
            })
            .collect();
        let claims = claims(&parsed, owners);
        let mut contents = Self::default();
        for (file, manifests) in parsed {
            let taken = manifests.and_then(|manifests| match stolen(&file, &manifests, &claims) {
                Some(reason) => Err(reason),
                None => Ok(manifests),
            });
            match taken {
                Ok(manifests) => {
                    contents.manifests.extend(manifests.into_iter().map(|manifest| (file.clone(), manifest)));
                }
                Err(reason) => contents.broken.push(BrokenManifest { file, reason }),
            }
        }
        contents
    }
}

/// Every file's objects, or what is wrong with it.
type Parsed = BTreeMap<String, Result<Vec<Manifest>, String>>;

/// What is in the store from files, by kind and name: the file.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<(&'static str, ObjectName), String>);

impl Owners {
    /// Reads who owns what now.
    pub(super) async fn read<S: Store>(store: &S) -> Result<Self, StoreError> {
        let mut owners = Self::default();
        owners.note::<S, Namespace>(store, "Namespace").await?;
        owners.note::<S, Node>(store, "Node").await?;
        owners.note::<S, NetworkClass>(store, "NetworkClass").await?;
        owners.note::<S, Network>(store, "Network").await?;
        Ok(owners)
    }

    async fn note<S: Store, K: Kind>(&mut self, store: &S, kind: &'static str) -> Result<(), StoreError> {
        for object in store.list::<K>(&Labels::new()).await? {
            if let Some(file) = file_of(&object) {
                self.0.insert((kind, ObjectName::of(&object)), file.to_owned());
            }
        }
        Ok(())
    }

    fn of(&self, manifest: &Manifest) -> Option<&str> {
        self.0.get(&(manifest.kind(), manifest.name())).map(String::as_str)
    }
}

type Claims = BTreeMap<(&'static str, ObjectName), String>;

fn claims(files: &Parsed, owners: &Owners) -> Claims {
    let mut claims = Claims::new();
    for (file, manifests) in files {
        for manifest in manifests.iter().flatten() {
            let claim = (manifest.kind(), manifest.name());
            let owner = owners.of(manifest).filter(|owner| *owner == file || is_broken(files, owner));
            match owner {
                Some(owner) => _ = claims.insert(claim, owner.to_owned()),
                None => _ = claims.entry(claim).or_insert_with(|| file.clone()),
            }
        }
    }
    claims
}

/// Whether a file is there, and says nothing that can be taken.
fn is_broken(files: &Parsed, file: &str) -> bool {
    files.get(file).is_some_and(Result::is_err)
}

fn stolen(file: &str, manifests: &[Manifest], claims: &Claims) -> Option<String> {
    manifests.iter().find_map(|manifest| {
        let owner = claims.get(&(manifest.kind(), manifest.name())).filter(|owner| *owner != file)?;
        Some(format!("{} {} is in {owner} too: remove one of them", manifest.kind(), manifest.name()))
    })
}

/// The file that an object came from.
pub(super) fn file_of<K: Kind>(object: &K) -> Option<&str> {
    object.meta().annotations.as_ref()?.get(FILE_ANNOTATION).map(String::as_str)
}
