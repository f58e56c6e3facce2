//! Bringing a store to what the files say.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, Node};
use knap_api::{Network, NetworkClass};
use serde_json::Value;

use super::{BrokenManifest, FILE_ANNOTATION, Manifest};
use crate::store::{Kind, Labels, ObjectName, Preconditions, Store, StoreError};

/// What the files say: the objects of those that are fine, and the names of those that are not.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) namespaces: Objects<Namespace>,
    pub(super) nodes: Objects<Node>,
    pub(super) classes: Objects<NetworkClass>,
    pub(super) networks: Objects<Network>,
    /// What these said before stays.
    pub(super) broken: Vec<BrokenManifest>,
}

/// Each with the file that it is in.
pub(super) type Objects<K> = BTreeMap<ObjectName, (String, K)>;

/// What is in the store from files, by kind and name: the file.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<(&'static str, ObjectName), String>);

/// What an apply did, and what it has to come back for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Objects that are no longer in any file; they are removed only when a second look agrees.
    pub(super) orphans: BTreeSet<(&'static str, ObjectName)>,
    /// Objects that are still going, and will be made again when they are gone.
    pub(super) waiting: bool,
    /// Objects that the store did not take, by file.
    pub(super) refused: Vec<BrokenManifest>,
}

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

impl Wanted {
    /// Sorts out what the files say. An object that is in two files belongs to the one that it is served from, or
    /// else to the first by name; the other is broken.
    pub(super) fn new(files: BTreeMap<String, Result<Vec<Manifest>, String>>, owners: &Owners) -> Self {
        let claims = claims(&files, owners);
        let mut wanted = Self::default();
        for (file, manifests) in files {
            let taken = manifests.and_then(|manifests| match stolen(&file, &manifests, &claims) {
                Some(reason) => Err(reason),
                None => Ok(manifests),
            });
            match taken {
                Ok(manifests) => manifests.into_iter().for_each(|manifest| wanted.add(&file, manifest)),
                Err(reason) => wanted.broken.push(BrokenManifest { file, reason }),
            }
        }
        wanted
    }

    fn add(&mut self, file: &str, manifest: Manifest) {
        let (file, name) = (file.to_owned(), manifest.name());
        match manifest {
            Manifest::Namespace(object) => drop(self.namespaces.insert(name, (file, *object))),
            Manifest::Node(object) => drop(self.nodes.insert(name, (file, *object))),
            Manifest::NetworkClass(object) => drop(self.classes.insert(name, (file, *object))),
            Manifest::Network(object) => drop(self.networks.insert(name, (file, *object))),
        }
    }

    /// Creates and changes what differs; removes what is in no file and in `condemned`.
    pub(super) async fn apply<S: Store>(
        &self,
        store: &S,
        condemned: &BTreeSet<(&'static str, ObjectName)>,
    ) -> Result<Outcome, StoreError> {
        let broken = self.broken.iter().map(|broken| broken.file.as_str()).collect();
        let mut run = Run { store, condemned, broken, outcome: Outcome::default() };
        // What a Network is decided from comes before it, and goes after it.
        run.bring("Namespace", &self.namespaces).await?;
        run.bring("Node", &self.nodes).await?;
        run.bring("NetworkClass", &self.classes).await?;
        run.bring("Network", &self.networks).await?;
        run.clear("Network", &self.networks).await?;
        run.clear("NetworkClass", &self.classes).await?;
        run.clear("Node", &self.nodes).await?;
        run.clear("Namespace", &self.namespaces).await?;
        Ok(run.outcome)
    }
}

type Claims = BTreeMap<(&'static str, ObjectName), String>;

fn claims(files: &BTreeMap<String, Result<Vec<Manifest>, String>>, owners: &Owners) -> Claims {
    let mut claims = Claims::new();
    for (file, manifests) in files {
        for manifest in manifests.iter().flatten() {
            let claim = (manifest.kind(), manifest.name());
            if owners.of(manifest) == Some(file) || !claims.contains_key(&claim) {
                claims.insert(claim, file.clone());
            }
        }
    }
    claims
}

fn stolen(file: &str, manifests: &[Manifest], claims: &Claims) -> Option<String> {
    manifests.iter().find_map(|manifest| {
        let owner = claims.get(&(manifest.kind(), manifest.name())).filter(|owner| *owner != file)?;
        Some(format!("{} {} is in {owner} too: remove one of them", manifest.kind(), manifest.name()))
    })
}

struct Run<'a, S> {
    store: &'a S,
    condemned: &'a BTreeSet<(&'static str, ObjectName)>,
    broken: BTreeSet<&'a str>,
    outcome: Outcome,
}

impl<S: Store> Run<'_, S> {
    async fn bring<K: Kind>(&mut self, kind: &'static str, wanted: &Objects<K>) -> Result<(), StoreError> {
        for (name, (file, object)) in wanted {
            match self.bring_one(kind, name, marked(object, file)).await {
                Err(StoreError::Refused { kind, name, reason }) => {
                    let reason = format!("{kind} {name}: {reason}");
                    self.outcome.refused.push(BrokenManifest { file: file.clone(), reason });
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn bring_one<K: Kind>(
        &mut self,
        kind: &'static str,
        name: &ObjectName,
        object: K,
    ) -> Result<(), StoreError> {
        loop {
            let answer = match self.store.get::<K>(name).await? {
                None => self.store.create(&object).await.map(|_| "created"),
                Some(found) if found.meta().deletion_timestamp.is_some() => {
                    self.outcome.waiting = true;
                    return Ok(());
                }
                Some(found) => {
                    let next = replacing(&found, object.clone());
                    if same(&found, &next) {
                        return Ok(());
                    }
                    self.store.update(&next).await.map(|_| "changed")
                }
            };
            match answer {
                Ok(what) => {
                    tracing::info!(kind, %name, "{what} from its manifest");
                    return Ok(());
                }
                // Somebody else wrote in between: look again.
                Err(
                    StoreError::AlreadyExists { .. }
                    | StoreError::Changed { .. }
                    | StoreError::NotFound { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn clear<K: Kind>(&mut self, kind: &'static str, wanted: &Objects<K>) -> Result<(), StoreError> {
        for object in self.store.list::<K>(&Labels::new()).await? {
            let name = ObjectName::of(&object);
            let Some(file) = file_of(&object) else { continue };
            let going = object.meta().deletion_timestamp.is_some();
            if going || wanted.contains_key(&name) || self.broken.contains(file) {
                continue;
            }
            if !self.condemned.contains(&(kind, name.clone())) {
                self.outcome.orphans.insert((kind, name));
                continue;
            }
            let same = Preconditions { uid: object.meta().uid.clone(), resource_version: None };
            match self.store.delete::<K>(&name, &same).await {
                Ok(()) => tracing::info!(kind, %name, file, "removed: no manifest has it any more"),
                Err(StoreError::NotFound { .. } | StoreError::Changed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn file_of<K: Kind>(object: &K) -> Option<&str> {
    object.meta().annotations.as_ref()?.get(FILE_ANNOTATION).map(String::as_str)
}

fn marked<K: Kind>(object: &K, file: &str) -> K {
    let mut object = object.clone();
    let annotations = object.meta_mut().annotations.get_or_insert_default();
    annotations.insert(FILE_ANNOTATION.to_owned(), file.to_owned());
    object
}

/// The object as wanted, with what others have put on the one that is there.
fn replacing<K: Kind>(found: &K, mut wanted: K) -> K {
    let (found, meta) = (found.meta(), wanted.meta_mut());
    meta.uid.clone_from(&found.uid);
    meta.resource_version.clone_from(&found.resource_version);
    meta.finalizers.clone_from(&found.finalizers);
    meta.owner_references.clone_from(&found.owner_references);
    wanted
}

/// Whether an update would change nothing.
fn same<K: Kind>(found: &K, wanted: &K) -> bool {
    let (one, other) = (found.meta(), wanted.meta());
    one.labels == other.labels && one.annotations == other.annotations && content(found) == content(wanted)
}

fn content<K: Kind>(object: &K) -> Option<Value> {
    let mut value = serde_json::to_value(object).ok()?;
    let object = value.as_object_mut()?;
    object.remove("metadata");
    object.remove("status");
    Some(value)
}
