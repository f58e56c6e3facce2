//! The end of a Network: it goes at once, whatever still runs. What running attachments need was marked as draining before,
//! and goes with the last of them (design: deletion of a Network).

use knap_api::{NETWORK_FINALIZER, NETWORK_UID_LABEL, Network, Reservation};
use kube::ResourceExt;

use super::news::draining;
use super::retire::{Retired, retire};
use super::{Provisioner, Surroundings, display_name};
use crate::fault;
use crate::store::{Labels, ObjectName, Store, StoreError};

impl<S: Store, A: Surroundings> Provisioner<S, A> {
    /// The Network with the finalizer that lets this controller see its end; none if somebody else wrote it meanwhile.
    pub(super) async fn hold(&self, network: &Network) -> Result<Option<Network>, StoreError> {
        if is_held(network) {
            return Ok(Some(network.clone()));
        }
        let mut held = network.clone();
        held.finalizers_mut().push(NETWORK_FINALIZER.to_owned());
        gone_or_changed(self.store.update(&held).await)
    }

    /// Lets a Network go whose deletion was asked for.
    pub(super) async fn finish(&self, network: &Network) -> Result<(), StoreError> {
        if !is_held(network) {
            return Ok(());
        }
        let (uid, name) = (network.uid().unwrap_or_default(), display_name(network));
        let labels = Labels::from([(NETWORK_UID_LABEL.to_owned(), Some(uid.clone()))]);
        let mut reservations = self.store.list::<Reservation>(&labels).await?;
        reservations.retain(|reservation| reservation.spec.lease.is_none());
        let retired = retire(&self.store, &uid, reservations).await?;
        fault::point("network-retired");
        // Nobody is kept waiting for it: without the Network it leads nowhere, and the next sweep tries again.
        if let Err(error) = self.surroundings.withdraw(&ObjectName::of(network)).await {
            tracing::warn!(network = name, %error, "can't remove what leads to the network");
        }
        if let Retired::Draining { leases } = retired {
            tracing::info!(network = name, attachments = leases, "deleted while attachments run");
            self.surroundings.tell(network, draining(leases));
        }
        let mut free = network.clone();
        free.finalizers_mut().retain(|finalizer| finalizer != NETWORK_FINALIZER);
        gone_or_changed(self.store.update(&free).await).map(drop)
    }
}

fn is_held(network: &Network) -> bool {
    network.finalizers().iter().any(|finalizer| finalizer == NETWORK_FINALIZER)
}

/// The view is behind where a Network has changed: what it is behind of brings the Network up again.
fn gone_or_changed(written: Result<Network, StoreError>) -> Result<Option<Network>, StoreError> {
    match written {
        Ok(network) => Ok(Some(network)),
        Err(StoreError::Changed { .. } | StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
