//! The end of claims: a lease that is kept for somebody who is gone is freed. One of all replicas looks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use knap_api::{AddressPolicy, Claim, Network, NetworkLease, Reservation};
use kube::ResourceExt;
use tokio::time::MissedTickBehavior;

use crate::attach::{STATEFUL_SET, belongs, claim_reservation, delete};
use crate::store::{ObjectName, Store, StoreError};
use crate::view::{Change, LeaseRef, View};

/// Between looks, which cost some reads for every lease without a holder.
const LOOK: Duration = Duration::from_secs(60);

/// Looks after leases without a holder.
#[derive(Debug)]
pub struct Claims<S> {
    store: S,
    view: Arc<View>,
}

impl<S: Store> Claims<S> {
    /// Over a store and the picture of it.
    pub fn new(store: S, view: Arc<View>) -> Self {
        Self { store, view }
    }

    /// Runs until it is dropped.
    pub async fn run(self) {
        let mut changes = self.view.changes();
        self.view.current().await;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                change = changes.recv() => match change {
                    Some(change) => change == Change::NetworkGone,
                    None => return,
                },
                _ = look.tick() => true,
            };
            if due {
                // One look answers for all that was told before it.
                while changes.try_recv().is_ok() {}
                self.free_unneeded().await;
            }
        }
    }

    /// Frees what is kept for nobody. What can't be judged now is looked at again.
    pub(crate) async fn free_unneeded(&self) {
        let mut owners = HashMap::new();
        for lease in self.view.leases.unheld() {
            if let Err(error) = self.look_at(&lease, &mut owners).await {
                tracing::warn!(lease = lease.name(), %error, "can't tell whether a kept lease is needed; looking again");
            }
        }
    }

    async fn look_at(
        &self,
        lease: &LeaseRef,
        owners: &mut HashMap<(String, String), Option<String>>,
    ) -> Result<(), StoreError> {
        let lease = self.store.get::<NetworkLease>(&ObjectName::cluster(lease.name())).await?;
        let Some(lease) = lease.filter(|lease| lease.spec.holders.is_empty()) else { return Ok(()) };
        if self.is_needed(&lease, owners).await? {
            return Ok(());
        }
        match delete(&self.store, &self.view.leases, &lease).await {
            Ok(()) => {
                tracing::info!(lease = lease.name_any(), "freed what was kept for somebody who is gone");
                Ok(())
            }
            // Somebody has it again.
            Err(StoreError::Changed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn is_needed(
        &self,
        lease: &NetworkLease,
        owners: &mut HashMap<(String, String), Option<String>>,
    ) -> Result<bool, StoreError> {
        let Some(claim) = &lease.spec.claim else { return Ok(false) };
        let of = &lease.spec.network;
        let network = self.store.get::<Network>(&ObjectName::namespaced(&of.namespace, &of.name)).await?;
        let lives = network.is_some_and(|network| {
            network.metadata.uid.as_ref() == Some(&of.uid)
                && network.metadata.deletion_timestamp.is_none()
                && network.spec.address_policy == AddressPolicy::Sticky
        });
        if !lives || !self.has_its_owner(claim, owners).await? {
            return Ok(false);
        }
        // One that was made and never said to be the one that is kept would never be found again.
        let reservation = claim_reservation(claim, &of.uid);
        let named = self.store.get::<Reservation>(&ObjectName::cluster(reservation.as_str())).await?;
        let named = named.and_then(|named| named.spec.lease);
        Ok(named.is_some_and(|owner| belongs(&owner, &reservation, lease)))
    }

    async fn has_its_owner(
        &self,
        claim: &Claim,
        owners: &mut HashMap<(String, String), Option<String>>,
    ) -> Result<bool, StoreError> {
        // Of a kind that a later version keeps leases for: that version frees them.
        if claim.kind != STATEFUL_SET {
            return Ok(true);
        }
        let key = (claim.namespace.clone(), claim.name.clone());
        let uid = match owners.get(&key) {
            Some(uid) => uid.clone(),
            None => {
                let name = ObjectName::namespaced(&claim.namespace, &claim.name);
                let uid = self.store.get::<StatefulSet>(&name).await?.and_then(|owner| owner.metadata.uid);
                owners.insert(key, uid.clone());
                uid
            }
        };
        Ok(uid.as_ref() == Some(&claim.uid))
    }
}
