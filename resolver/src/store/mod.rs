//! Where objects live. Two stores, one small trait, one suite of tests: no rule may differ between them.
//!
//! Creating an object whose name is the resource is the lock (design: the one rule for everything scarce), so the
//! trait has just what that needs: create-if-absent, update-if-unchanged, delete-if.

pub mod embedded;
pub mod kubernetes;
pub(crate) mod metadata;
#[cfg(any(test, feature = "store-suite"))]
pub mod suite;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use futures::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind that a store can hold: one of Knap's, or `v1` Namespace and Node.
pub trait Kind:
    kube::Resource<DynamicType = ()> + Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Kind for K where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + fmt::Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Names one object of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Absent for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectName {
    /// An object of a cluster-scoped kind.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// An object of a namespaced kind.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    /// The name that an object carries in its metadata.
    pub fn of<K: Kind>(object: &K) -> Self {
        let meta = object.meta();
        Self { namespace: meta.namespace.clone(), name: meta.name.clone().unwrap_or_default() }
    }
}

/// The place of an object's last write among all changes of its kind. Both stores count them in one sequence; what is no number
/// would be of a store that this can't run on.
pub(crate) fn order_of<K: Kind>(object: &K) -> u64 {
    object.meta().resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(u64::MAX)
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{namespace}/{}", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

/// What an object must still be for a delete to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// `metadata.uid`: not another object made anew under the same name.
    pub uid: Option<String>,
    /// `metadata.resourceVersion`: unchanged since it was read.
    pub resource_version: Option<String>,
}

impl Preconditions {
    /// Exactly the object that was read.
    pub fn unchanged<K: Kind>(object: &K) -> Self {
        let meta = object.meta();
        Self { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() }
    }
}

/// Labels that objects must carry to be listed; a value of `None` asks for the key alone.
pub type Labels = BTreeMap<String, Option<String>>;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Create: somebody was faster.
    #[error("{kind} {name} exists already")]
    AlreadyExists {
        /// The kind.
        kind: String,
        /// Which object.
        name: ObjectName,
    },
    /// Update or delete of what is not there.
    #[error("{kind} {name} does not exist")]
    NotFound {
        /// The kind.
        kind: String,
        /// Which object.
        name: ObjectName,
    },
    /// Update or delete of what has changed since it was read.
    #[error("{kind} {name} has changed since it was read")]
    Changed {
        /// The kind.
        kind: String,
        /// Which object.
        name: ObjectName,
    },
    /// The store does not accept the object.
    #[error("{kind} {name} is refused: {reason}")]
    Refused {
        /// The kind.
        kind: String,
        /// Which object.
        name: ObjectName,
        /// The store's words.
        reason: String,
    },
    /// The store can't be reached or did not answer: a write may or may not have happened.
    #[error("the store is not available while trying to {action}")]
    Unavailable {
        /// What was tried, `create NetworkLease shop.blue-5`.
        action: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a watch reports. It begins with all there is: `Restarted`, each object as `Existing`, `Current`; and does so
/// again whenever events may have been missed.
#[derive(Debug, Clone)]
pub enum WatchEvent<K> {
    /// Forget what was known; all of it follows.
    Restarted,
    /// An object that was there at the restart.
    Existing(K),
    /// All that was there has been told.
    Current,
    /// An object was created or changed.
    Applied(K),
    /// An object was deleted; its last state.
    Deleted(K),
}

/// Where objects live.
pub trait Store: Clone + Send + Sync + 'static {
    /// Reads one object as it is now (never from a cache).
    fn get<K: Kind>(&self, name: &ObjectName) -> impl Future<Output = Result<Option<K>, StoreError>> + Send;

    /// Reads all objects of a kind that carry the labels, as they are now (never from a cache).
    fn list<K: Kind>(&self, labels: &Labels) -> impl Future<Output = Result<Vec<K>, StoreError>> + Send;

    /// A moment not before this call, in the order of resourceVersions: whoever has been told of a change of the kind that is as
    /// late has been told of all that was there by now. Costs little however many objects there are.
    fn position<K: Kind>(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Reports all objects of a kind and every later change. Never ends; trouble is retried within.
    fn watch<K: Kind>(&self) -> impl Stream<Item = WatchEvent<K>> + Send + Unpin + 'static;

    /// Creates an object if none has its name; durable when it returns. Gives it UID, resourceVersion and
    /// creationTimestamp.
    fn create<K: Kind>(&self, object: &K) -> impl Future<Output = Result<K, StoreError>> + Send;

    /// Replaces an object, status left alone, if its resourceVersion is still the one in `object`.
    fn update<K: Kind>(&self, object: &K) -> impl Future<Output = Result<K, StoreError>> + Send;

    /// Replaces an object's status alone, if its resourceVersion is still the one in `object`.
    fn update_status<K: Kind>(&self, object: &K) -> impl Future<Output = Result<K, StoreError>> + Send;

    /// Deletes an object if the preconditions hold; durable when it returns.
    fn delete<K: Kind>(
        &self,
        name: &ObjectName,
        preconditions: &Preconditions,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
