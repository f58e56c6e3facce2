//! Why a Network is not Ready, as its conditions say it.

use ipnetwork::IpNetwork;
use knap_core::{
    ClusterConflict, DecideError, FabricConflict, LayoutError, OverQuota, ProviderError, SelectionError,
};

use super::granted::GrantedError;
use crate::store::StoreError;
use crate::translate::TranslateError;

/// What keeps a Network from being served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProvisionError {
    /// The Network's spec can't be read.
    #[error(transparent)]
    Spec(TranslateError),
    /// The spec of the class that it names can't be read.
    #[error("{0}: correct the class")]
    Class(TranslateError),
    /// There is nobody to keep a slot for.
    #[error(
        "spec.addressPolicy Sticky keeps an address for a StatefulSet's pod, and without Kubernetes there is none: set addressPolicy: Ephemeral, and request addresses where they must stay the same"
    )]
    StickyWithoutKubernetes,
    /// No class serves it.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// Its class can't use its wire beside an earlier one.
    #[error(transparent)]
    Fabric(Box<FabricConflict>),
    /// Too many Networks.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// A change that would shift what running attachments use.
    #[error(
        "{what} can't change while {leases} attachments run (it was {was}, and would be {becomes}): undo the change, \
         or remove the attachments"
    )]
    Fixed { what: &'static str, was: String, becomes: String, leases: u32 },
    /// Somebody has the subnet, or one that overlaps it.
    #[error(
        "subnet {cidr} conflicts with {other}, which belongs to Network {owner}{drains}: change spec.subnets{}; \
         if that Network goes, this one will be served by itself", .free.map(|free| format!(" ({free} is free)")).unwrap_or_default()
    )]
    Conflict {
        cidr: IpNetwork,
        other: IpNetwork,
        owner: String,
        /// `""`, or that the Network is gone and its attachments run.
        drains: &'static str,
        /// A subnet of this size that nobody has.
        free: Option<IpNetwork>,
    },
    /// The cluster itself uses the addresses.
    #[error(transparent)]
    Cluster(#[from] ClusterConflict),
    /// Nothing is left of what the class has.
    #[error(
        "NetworkClass {class:?} has no free {what} left: remove Networks that are not used, or have the administrator \
         add to the class"
    )]
    Exhausted { class: String, what: String },
    /// All that its class has is the cluster's own.
    #[error(
        "NetworkClass {class:?} has no subnet to give, for {pool} lies in {cidr}, {what}: have the administrator add address \
         space to it that the cluster does not use, or, where it is a built-in one, make a NetworkClass of that provider"
    )]
    Swallowed { class: String, pool: IpNetwork, cidr: IpNetwork, what: String },
    /// Only one Network can have it.
    #[error(
        "{what} belongs to Network {owner}, and can serve one Network only: choose another class, or remove that Network"
    )]
    InUse { what: String, owner: String },
    /// A thing that the Network has had is now somebody else's.
    #[error(
        "{what}, which attachments of this Network use, is now reserved for Network {owner}: remove that Network, or \
         the attachments of this one"
    )]
    Lost { what: String, owner: String },
    /// Subnets that don't go together.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The provider can't make it.
    #[error("NetworkClass {class:?}: {source}")]
    Plan { class: String, source: ProviderError },
    /// The status can't be read.
    #[error(transparent)]
    Granted(#[from] GrantedError),
    /// The store did not do its part; tried again soon.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ProvisionError {
    /// The reason of the condition.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Spec(_) => "InvalidSpec",
            Self::Class(_) => "InvalidClass",
            Self::StickyWithoutKubernetes => "StickyUnsupported",
            Self::Decide(DecideError::Intent(_)) => "InvalidSpec",
            Self::Decide(DecideError::Selection(_)) => "NoClass",
            Self::Decide(DecideError::UnknownProvider { .. }) => "UnknownProvider",
            Self::Decide(DecideError::Class { .. }) => "InvalidClass",
            Self::Decide(DecideError::Needs(_)) => "NotOffered",
            Self::Fabric(_) => "InvalidClass",
            Self::OverQuota(_) => "OverQuota",
            Self::Fixed { .. } => "FixedWhileAttached",
            Self::Conflict { .. } => "Conflict",
            Self::Cluster(_) | Self::Swallowed { .. } => "ClusterConflict",
            Self::InUse { .. } => "InUse",
            Self::Exhausted { .. } => "Exhausted",
            Self::Lost { .. } => "ReservationLost",
            Self::Layout(_) => "InvalidSubnets",
            Self::Plan { .. } => "InvalidPlan",
            Self::Granted(_) => "InvalidStatus",
            Self::Store(_) => "StoreUnavailable",
        }
    }

    /// Whether the Network is refused as it is written, before anything is reserved for it.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Spec(_)
                | Self::Class(_)
                | Self::StickyWithoutKubernetes
                | Self::Decide(_)
                | Self::Fabric(_)
                | Self::OverQuota(_)
                | Self::Fixed { .. }
        )
    }

    /// Whether it may end without anybody changing the Network, or what serves it: by a class that is still to come, or by
    /// the end of attachments that a deleted Network has left.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Decide(DecideError::Selection(selection)) => match selection {
                SelectionError::UnknownClass { .. }
                | SelectionError::NoClassOfProvider { .. }
                | SelectionError::NoDefault { .. } => true,
                SelectionError::NoneFits { refusals } => refusals.is_empty(),
                _ => false,
            },
            Self::Conflict { drains, .. } => !drains.is_empty(),
            // These are not about the spec.
            Self::Lost { .. } | Self::Granted(_) | Self::Store(_) => true,
            _ => false,
        }
    }
}
