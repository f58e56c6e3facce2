//! Pods as nodes ask for them: from what is known, and read from the store before anyone is refused.

use std::sync::Arc;

use futures::StreamExt;
use knap_protocol::{AttachRequest, NodeName, PodRef};
use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::facts::Facts;
use super::{BoundPod, IdentityError};
use crate::store::{ObjectName, Store, WatchEvent};

/// The pods of a cluster.
#[derive(Debug)]
pub struct Pods<S> {
    store: S,
    facts: RwLock<Facts>,
    lookups: Family<Source, Counter>,
}

/// How it was found out where a pod runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

const KNOWN: Source = Source { source: "known" };
const READ: Source = Source { source: "read" };

impl<S: Store> Pods<S> {
    /// Begins to follow the pods of a store, in the task that is returned, and shows each to `seen` whenever it is new or
    /// changed. It need not have learned anything yet to be asked.
    pub fn follow(
        store: &S,
        seen: impl Fn(&BoundPod) + Send + 'static,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let pods =
            Arc::new(Self { store: store.clone(), facts: RwLock::default(), lookups: Family::default() });
        (Arc::clone(&pods), follow(store.clone(), pods, seen))
    }

    /// The pod that a node asks for, with a UID, if it is that node's.
    ///
    /// A running attachment that is asserted again may be one of a pod that is gone, when somebody deleted it by force, or a
    /// restored etcd does not know it: its sandbox runs on with its address, so it keeps it. Not by the node's word, though,
    /// but only if the pod was seen on that node.
    ///
    /// # Errors
    /// It is not that node's, or it could not be found out.
    pub async fn proven(&self, node: &NodeName, request: &AttachRequest) -> Result<PodRef, IdentityError> {
        let mut asked = request.pod.clone().ok_or(IdentityError::NoPod)?;
        asked.uid = asked.uid.filter(|uid| !uid.is_empty());
        let (present, gone) = self.recalled(node, &asked);
        if present {
            self.lookups.get_or_create(&KNOWN).inc();
            return Ok(asked);
        }
        self.lookups.get_or_create(&READ).inc();
        let name = ObjectName::namespaced(&asked.namespace, &asked.name);
        let read = self.store.get::<BoundPod>(&name).await;
        let (pod, node) = (|| name.clone(), || node.clone());
        let read = read.map_err(|source| IdentityError::Unreadable {
            pod: pod(),
            node: node(),
            source: Box::new(source),
        })?;
        match check(node(), &asked, read) {
            Err(IdentityError::Unknown { .. } | IdentityError::OtherUid { .. })
                if gone && request.is_reassertion() =>
            {
                Ok(asked)
            }
            checked => checked,
        }
    }

    /// Whether a pod is known to be on the node, and whether it was until lately.
    pub(super) fn recalled(&self, node: &NodeName, asked: &PodRef) -> (bool, bool) {
        let Some(uid) = &asked.uid else { return (false, false) };
        let facts = self.facts.read();
        let fact = facts.fact(&asked.namespace, &asked.name, uid, node.as_str());
        (facts.is_known(fact), facts.was_known(fact))
    }

    /// Adds what is counted to what is measured.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "pod_lookups",
            "Pods of attachments, by how it was found out where they run: known from the watch, or read",
            self.lookups.clone(),
        );
    }
}

/// Whether this is the pod that the node asks for, and whether it runs there.
fn check(node: NodeName, asked: &PodRef, read: Option<BoundPod>) -> Result<PodRef, IdentityError> {
    let pod = ObjectName::namespaced(&asked.namespace, &asked.name);
    let Some(found) = read else { return Err(IdentityError::Unknown { pod, node }) };
    let uid = found.metadata.uid.clone().unwrap_or_default();
    if let Some(asked) = asked.uid.as_ref().filter(|asked| !found.is_known_as(asked)) {
        return Err(IdentityError::OtherUid { pod, uid, asked: asked.clone(), node });
    }
    match found.node() {
        None => Err(IdentityError::Unbound { pod, uid, node }),
        Some(bound) if bound != node.as_str() => {
            Err(IdentityError::Elsewhere { pod, uid, bound: bound.to_owned(), node })
        }
        Some(_) => Ok(PodRef { uid: Some(asked.uid.clone().unwrap_or(uid)), ..asked.clone() }),
    }
}

async fn follow<S: Store>(store: S, pods: Arc<Pods<S>>, seen: impl Fn(&BoundPod)) {
    let mut events = store.watch::<BoundPod>();
    while let Some(event) = events.next().await {
        if let WatchEvent::Existing(pod) | WatchEvent::Applied(pod) = &event {
            seen(pod);
        }
        let mut facts = pods.facts.write();
        match event {
            WatchEvent::Restarted => facts.restart(),
            WatchEvent::Existing(pod) | WatchEvent::Applied(pod) => facts.learn(&pod),
            WatchEvent::Current => facts.complete(),
            WatchEvent::Deleted(pod) => facts.forget(&pod),
        }
    }
}
