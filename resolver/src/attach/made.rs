//! The leases that one call has made or found, and how they are undone when it fails.

use knap_api::NetworkLease;
use knap_core::NodeFacts;
use kube::ResourceExt;

use super::Attacher;
use super::answer::Question;
use super::freed::{delete, let_go};
use super::refusal::Refusal;
use crate::store::Store;

/// The leases of an attachment.
pub(super) struct Made {
    /// Where it is made.
    pub(super) node: NodeFacts,
    /// In the order of their slots.
    leases: Vec<(NetworkLease, Origin)>,
}

/// How this call came by a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// An earlier call of the same attempt had it.
    Found,
    /// It was made.
    Created,
    /// It was kept for the asker, without a holder.
    Adopted,
}

/// How this call came by a lease if the write was done whose answer it lost.
pub(super) type Lost = Option<Origin>;

impl Made {
    /// None yet.
    pub(super) const fn at(node: NodeFacts) -> Self {
        Self { node, leases: Vec::new() }
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = &NetworkLease> {
        self.leases.iter().map(|(lease, _)| lease)
    }

    pub(super) fn add(&mut self, lease: NetworkLease, origin: Origin) {
        self.leases.push((lease, origin));
    }
}

impl Question<'_> {
    /// How this call came by a lease that its attempt has: where an answer was lost, by that write. What a running attachment
    /// has is nobody's to undo but its own DELETE's.
    pub(super) fn origin(&self, lost: Lost) -> Origin {
        lost.filter(|_| !self.request.is_reassertion()).unwrap_or(Origin::Found)
    }
}

impl<S: Store> Attacher<S> {
    /// Undoes what this call made. What can't be undone now goes with the caller's DELETE, and the refusal says that there is
    /// need of one.
    pub(super) async fn withdraw(&self, made: Made, refusal: Refusal) -> Refusal {
        let mut is_left = false;
        for (lease, origin) in made.leases.into_iter().rev() {
            let (store, leases) = (&self.store, &self.view.leases);
            let undone = match origin {
                Origin::Found => continue,
                Origin::Created => delete(store, leases, &lease).await,
                Origin::Adopted => let_go(store, leases, &lease, |_| true).await,
            };
            self.counters.withdrawals.inc();
            if let Err(error) = undone {
                tracing::warn!(lease = lease.name_any(), %error, "can't withdraw a lease; it goes with its DELETE");
                is_left = true;
            }
        }
        if is_left { Refusal::NotWithdrawn(Box::new(refusal)) } else { refusal }
    }
}
