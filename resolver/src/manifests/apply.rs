//! Bringing a store to what the files say.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, Node};
use knap_api::{Network, NetworkClass};
use serde_json::Value;

use super::contents::{Contents, file_of};
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

impl Wanted {
    pub(super) fn new(contents: Contents) -> Self {
        let mut wanted = Self { broken: contents.broken, ..Self::default() };
        for (file, manifest) in contents.manifests {
            wanted.add(file, manifest);
        }
        wanted
    }

    fn add(&mut self, file: String, manifest: Manifest) {
        let name = manifest.name();
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
