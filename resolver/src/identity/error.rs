//! Why a node gets nothing for a pod.

use knap_protocol::{NodeName, PodRef, ProblemKind};

use crate::causes::with_causes;
use crate::store::{ObjectName, StoreError};

/// Why a node gets nothing for a pod.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The request names none.
    #[error(
        "the request names no pod, and in a cluster attachments are made for pods alone: have the runtime pass on \
         CNI_ARGS with K8S_POD_NAMESPACE, K8S_POD_NAME and K8S_POD_UID"
    )]
    NoPod,
    /// There is none of this name.
    #[error(
        "there is no pod {pod}, so node {node} gets no attachment for it: it was deleted meanwhile, or the resolver is of \
         another cluster; a static pod is known as soon as its kubelet has made its mirror"
    )]
    Unknown {
        /// As asked for.
        pod: ObjectName,
        /// Who asked.
        node: NodeName,
    },
    /// It is another than the one that was there.
    #[error(
        "pod {pod} has UID {uid}, and node {node} asks for the one with UID {asked}: that one is gone, and its sandbox \
         ends with it"
    )]
    OtherUid {
        /// As asked for.
        pod: ObjectName,
        /// Of the pod that there is.
        uid: String,
        /// As asked for.
        asked: String,
        /// Who asked.
        node: NodeName,
    },
    /// It runs nowhere.
    #[error(
        "pod {pod} is not bound to a node yet, and node {node} asks for it: only the node that runs a pod may"
    )]
    Unbound {
        /// The pod.
        pod: ObjectName,
        /// By which the API knows it.
        uid: String,
        /// Who asked.
        node: NodeName,
    },
    /// It runs elsewhere.
    #[error(
        "pod {pod} is bound to node {bound}, and node {node} asks for it: only the node that runs a pod may; if nobody \
         meddles with that node, compare the node name in its node file"
    )]
    Elsewhere {
        /// The pod.
        pod: ObjectName,
        /// By which the API knows it.
        uid: String,
        /// Where it runs.
        bound: String,
        /// Who asked.
        node: NodeName,
    },
    /// It could not be read.
    #[error("can't find out whether pod {pod} runs on node {node}: {}", with_causes(.source.as_ref()))]
    Unreadable {
        /// The pod.
        pod: ObjectName,
        /// Who asked.
        node: NodeName,
        /// The cause.
        source: Box<StoreError>,
    },
}

impl IdentityError {
    /// The kind of problem that the caller is told of.
    pub const fn kind(&self) -> ProblemKind {
        match self {
            Self::Unreadable { .. } => ProblemKind::Unavailable,
            _ => ProblemKind::Forbidden,
        }
    }

    /// In a word, for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoPod => "no_pod",
            Self::Unknown { .. } => "pod_unknown",
            Self::OtherUid { .. } => "pod_gone",
            Self::Unbound { .. } => "pod_unbound",
            Self::Elsewhere { .. } => "pod_elsewhere",
            Self::Unreadable { .. } => "unavailable",
        }
    }

    /// Whether the next look may tell.
    pub const fn is_unread(&self) -> bool {
        matches!(self, Self::Unreadable { .. })
    }

    /// The pod that was asked for, where there is one, though it is not the node's.
    pub fn pod(&self) -> Option<PodRef> {
        let (Self::Unbound { pod, uid, .. } | Self::Elsewhere { pod, uid, .. }) = self else { return None };
        Some(PodRef {
            namespace: pod.namespace.clone().unwrap_or_default(),
            name: pod.name.clone(),
            uid: Some(uid.clone()),
        })
    }
}
