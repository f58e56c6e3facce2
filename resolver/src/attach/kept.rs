//! Addresses that are kept (`addressPolicy: Sticky`): the lease outlives its holder, and the next pod of the same claim gets it.
//!
//! A Reservation named after the claim says which lease that is; creating it is the lock, so that two replicas can't keep two.

use knap_api::{NetworkLease, Reservation};
use kube::ResourceExt;

use super::Attacher;
use super::answer::Question;
use super::claimant::{Claimant, display};
use super::lease::{hold, holders_of};
use super::made::{Lost, Made, Origin};
use super::make::REPEAT;
use super::refusal::Refusal;
use crate::identity::BoundPod;
use crate::store::{ObjectName, Store, StoreError};

impl<S: Store> Attacher<S> {
    /// For whom the attachment's address is kept, if it is. One that asks for a certain address or MAC gets that, and nothing
    /// is kept.
    pub(super) async fn claimant(&self, question: &Question<'_>) -> Result<Option<Claimant>, Refusal> {
        let (prepared, placement) = (question.prepared, question.placement);
        if !prepared.intent.sticky || placement.wishes_something() {
            return Ok(None);
        }
        let Some(pod) = &question.request.pod else { return Ok(None) };
        let name = ObjectName::namespaced(pod.namespace.as_str(), pod.name.as_str());
        let pod = self.store.get::<BoundPod>(&name).await?;
        Ok(pod.and_then(|pod| Claimant::of(&pod, &question.asker.key.ifname, &prepared.uid)))
    }

    /// The lease that is kept for a claimant; where there is none yet, one on any slot that will be.
    pub(super) async fn kept(
        &self,
        question: &Question<'_>,
        claimant: &Claimant,
        made: &mut Made,
    ) -> Result<(), Refusal> {
        let mut lost = None;
        loop {
            question.in_time()?;
            let Some(lease) = self.lease_of(claimant).await? else {
                return self.anywhere(question, made).await;
            };
            question.configs(&made.node, &question.facts([&lease])?)?;
            if let Some((lease, origin)) = self.adopt(question, lease, &mut lost).await? {
                made.add(lease, origin);
                return Ok(());
            }
        }
    }

    async fn lease_of(&self, claimant: &Claimant) -> Result<Option<NetworkLease>, Refusal> {
        let name = ObjectName::cluster(claimant.reservation());
        let Some(reservation) = self.store.get::<Reservation>(&name).await? else { return Ok(None) };
        let Some(kept) = reservation.spec.lease else { return Ok(None) };
        let lease = self.store.get::<NetworkLease>(&ObjectName::cluster(kept.name)).await?;
        Ok(lease.filter(|lease| claimant.has(lease)))
    }

    /// Makes the asker the holder of a lease that is kept for it: one write, unless it is that already. None if the lease has
    /// changed in between, or may have, and is to be read again.
    pub(super) async fn adopt(
        &self,
        question: &Question<'_>,
        lease: NetworkLease,
        lost: &mut Lost,
    ) -> Result<Option<(NetworkLease, Origin)>, Refusal> {
        let (asker, attempt) = (question.asker, &question.request.attempt);
        if lease.spec.holders.iter().any(|holder| asker.is(holder, attempt)) {
            return Ok(Some((lease, question.origin(*lost))));
        }
        if !lease.spec.holders.is_empty() {
            return Err(Refusal::StillHeld {
                network: question.prepared.name.clone(),
                claimant: lease.spec.claim.as_ref().map(display).unwrap_or_default(),
                lease: lease.name_any(),
                holder: holders_of(&lease),
            });
        }
        let _admitted = self.admit(question)?;
        let mut held = lease;
        hold(&mut held, asker, question.request);
        match self.store.update(&held).await {
            Ok(held) => {
                self.view.leases.insert(&held);
                Ok(Some((held, Origin::Adopted)))
            }
            // Whether it happened shows in the lease.
            Err(
                error @ (StoreError::Changed { .. }
                | StoreError::NotFound { .. }
                | StoreError::Unavailable { .. }),
            ) => {
                if matches!(error, StoreError::Unavailable { .. }) {
                    *lost = Some(Origin::Adopted);
                }
                tokio::time::sleep(REPEAT).await;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
