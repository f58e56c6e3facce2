//! Why an attachment is not served, and as what problem the caller hears of it.

use std::sync::Arc;

use ipnetwork::IpNetwork;
use knap_core::{FenceReason, NotPermitted, OverQuota, ProviderError, SlotError};
use knap_protocol::{Attempt, BootId, NetworkName, NodeName, ProblemKind};

use super::gate::Closed;
use super::wishes::WishError;
use crate::causes::with_causes;
use crate::identity::IdentityError;
use crate::store::StoreError;

/// Why an attachment, or its release, is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The pod is not the node's to attach.
    #[error(transparent)]
    Identity(Arc<IdentityError>),
    /// No such Network.
    #[error(
        "Network {0} does not exist: create it, or correct the name in the pod's annotation or the CNI configuration"
    )]
    UnknownNetwork(NetworkName),
    /// The Network can't be served as it is written; its condition says why.
    #[error("Network {network} is not accepted: {reason}")]
    NotAccepted {
        /// The Network.
        network: NetworkName,
        /// The condition's message.
        reason: String,
    },
    /// The Network can't serve now; its condition says why.
    #[error("Network {network} is not ready: {reason}")]
    NotReady {
        /// The Network.
        network: NetworkName,
        /// The condition's message.
        reason: String,
    },
    /// The pod's namespace may not use it.
    #[error(transparent)]
    NotPermitted(Box<NotPermitted>),
    /// The pod's namespace has enough.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// The request asks in a form that can't be read.
    #[error("the request for Network {network} can't be honoured: {source}")]
    Wish {
        /// The Network.
        network: NetworkName,
        /// What is wrong with it.
        source: Box<WishError>,
    },
    /// The request asks for an address that nobody gets.
    #[error("the request for Network {network} can't be honoured: {source}")]
    Address {
        /// The Network.
        network: NetworkName,
        /// What is wrong with it.
        source: Box<SlotError>,
    },
    /// The request asks for what somebody else has.
    #[error(
        "{what} of Network {network} is taken by {holder}: request another, or wait until it is released"
    )]
    Taken {
        /// The Network.
        network: NetworkName,
        /// The address, MAC or lease.
        what: String,
        /// Who has it.
        holder: String,
    },
    /// The address is kept for the asker, and the one before it has not let go.
    #[error(
        "the address of Network {network} that is kept for {claimant} (lease {lease}) is still held by {holder}: it is given \
         when that has been torn down; where its node is dead, fence the node"
    )]
    StillHeld {
        /// The Network.
        network: NetworkName,
        /// For whom.
        claimant: String,
        /// Which.
        lease: String,
        /// By whom.
        holder: String,
    },
    /// The leases to assert again are not this Network's.
    #[error("lease {lease} is not one of Network {network}, or does not stand for the addresses asked for")]
    ForeignLease {
        /// The Network.
        network: NetworkName,
        /// What was named.
        lease: String,
    },
    /// The provider can't serve this node.
    #[error("Network {network} can't be served on node {node}: {source}")]
    Provider {
        /// The Network.
        network: NetworkName,
        /// The node.
        node: NodeName,
        /// What its provider says.
        source: Box<ProviderError>,
    },
    /// Every slot has a lease.
    #[error(
        "Network {network} has no free address left ({capacity} in use or reserved): remove attachments, \
         or add a subnet to the Network"
    )]
    Full {
        /// The Network.
        network: NetworkName,
        /// How many attachments it can have.
        capacity: u32,
    },
    /// What the Network is served from is not in order.
    #[error("Network {network} is not served at the moment: {source}")]
    Closed {
        /// The Network.
        network: NetworkName,
        /// What is not in order.
        source: Closed,
    },
    /// A later boot of the node was heard of.
    #[error(
        "boot {boot} of node {node} is over: boot {current} was heard of after it, and what it held is freed. Reboot the node, \
         or where two machines call themselves {node}, give each a name of its own"
    )]
    Superseded {
        /// The node.
        node: NodeName,
        /// The boot that asks.
        boot: BootId,
        /// The one that is known as the present one.
        current: String,
    },
    /// The node's boot is fenced.
    #[error("node {node} is fenced in its boot {boot} ({}): nothing is attached there; {}", .reason.name(), remedy(*.reason))]
    Fenced {
        /// The node.
        node: NodeName,
        /// The boot.
        boot: BootId,
        /// Why.
        reason: FenceReason,
    },
    /// The record of the node's boot disappeared.
    #[error("boot {boot} is not recorded in NodeInventory {node}, which was deleted or changed; try again")]
    Unrecorded {
        /// The node.
        node: NodeName,
        /// The boot.
        boot: BootId,
    },
    /// The node's boot can't be recorded.
    #[error("the boot of node {node} can't be recorded in its NodeInventory: {reason}")]
    Unrecordable {
        /// The node.
        node: NodeName,
        /// What the store says.
        reason: String,
    },
    /// The attachment was released before it was made.
    #[error("attempt {0} has been released already: nothing is attached")]
    Released(Attempt),
    /// Too late.
    #[error("the attachment to Network {0} could not be made within the request's deadline: try again")]
    Deadline(NetworkName),
    /// The store did not do its part.
    #[error("the resolver's store did not answer as it should: {}", with_causes(.0.as_ref()))]
    Store(Arc<StoreError>),
    /// Refused, and something that was made on the way there could not be undone.
    #[error(transparent)]
    NotWithdrawn(Box<Refusal>),
    /// What the provider made can't be passed on.
    #[error("Network {network}: what its provider made can't be passed on: {reason}")]
    Answer {
        /// The Network.
        network: NetworkName,
        /// What is wrong.
        reason: String,
    },
}

impl Refusal {
    /// The kind of problem that the caller is told of.
    pub fn kind(&self) -> ProblemKind {
        match self {
            Self::Identity(error) => error.kind(),
            Self::NotWithdrawn(refusal) => refusal.kind(),
            Self::UnknownNetwork(_) => ProblemKind::UnknownNetwork,
            Self::NotReady { .. } => ProblemKind::NotReady,
            Self::NotPermitted(_) => ProblemKind::NotPermitted,
            Self::OverQuota(_) => ProblemKind::OverQuota,
            Self::NotAccepted { .. } | Self::Wish { .. } | Self::Address { .. } | Self::Provider { .. } => {
                ProblemKind::Unprocessable
            }
            Self::Taken { .. } | Self::ForeignLease { .. } | Self::Released(_) => ProblemKind::Taken,
            Self::Full { .. } => ProblemKind::Full,
            Self::Superseded { .. } | Self::Fenced { .. } => ProblemKind::Fenced,
            Self::Closed { .. }
            | Self::StillHeld { .. }
            | Self::Deadline(_)
            | Self::Store(_)
            | Self::Unrecorded { .. }
            | Self::Unrecordable { .. } => ProblemKind::Unavailable,
            Self::Answer { .. } => ProblemKind::Internal,
        }
    }
}

impl Refusal {
    /// What was prepared is of a Network as it is no longer.
    pub(super) fn changed(network: &NetworkName) -> Self {
        let reason = "it has changed since this request was prepared; try again".to_owned();
        Self::NotReady { network: network.clone(), reason }
    }

    /// Whether a look did not come to anything: the next may.
    pub(super) fn is_unread(&self) -> bool {
        matches!(self, Self::Closed { source: Closed::Unreadable(_), .. } | Self::Store(_))
    }

    /// Whether there is a lease that nobody answers for, or may still be: its create was sent, perhaps, and nobody knows what
    /// came of it.
    pub fn is_unsettled(&self) -> bool {
        match self {
            Self::Deadline(_) | Self::NotWithdrawn(_) => true,
            Self::Store(error) => matches!(**error, StoreError::Unavailable { .. }),
            _ => false,
        }
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        Self::Identity(Arc::new(error))
    }
}

impl From<NotPermitted> for Refusal {
    fn from(error: NotPermitted) -> Self {
        Self::NotPermitted(Box::new(error))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// How a fence ends. Each ends only when nothing of what the boot held is left on the node.
const fn remedy(reason: FenceReason) -> &'static str {
    match reason {
        FenceReason::Rebooted => "reboot it",
        FenceReason::OutOfService => {
            "when it is back, remove the taint node.kubernetes.io/out-of-service from the Node, and let knap reap run there"
        }
        FenceReason::Quarantined => {
            "when it is in order, remove the annotation knap.github.com/quarantine from the NodeInventory, and let knap reap \
             run there"
        }
        FenceReason::NodeGone => "its Node is gone: when it has registered again, let knap reap run there",
    }
}

/// Addresses as the middle of a message.
pub(super) fn list(addresses: &[IpNetwork]) -> String {
    addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" and ")
}
