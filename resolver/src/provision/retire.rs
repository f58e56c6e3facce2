//! Giving up Reservations: never while a lease needs them. `draining` is set before the last look at the leases, so
//! that a lease made meanwhile is either seen here or sees that it may not stay.

use knap_api::{NETWORK_UID_LABEL, Network, NetworkLease, Reservation, ReservationStatus};
use knap_core::reservation::is_claim_name;
use kube::ResourceExt;

use super::reserved::is_draining;
use crate::attach::belongs;
use crate::store::{Labels, ObjectName, Preconditions, Store, StoreError};
use crate::view::View;

/// What became of Reservations that nobody wants any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retired {
    /// They are deleted.
    Gone,
    /// So many leases still need them.
    Draining {
        /// One at least.
        leases: u32,
    },
}

/// Gives up Reservations of one Network UID, if it has no lease.
pub(super) async fn retire<S: Store>(
    store: &S,
    uid: &str,
    reservations: Vec<Reservation>,
) -> Result<Retired, StoreError> {
    let mut draining = Vec::with_capacity(reservations.len());
    for reservation in reservations {
        draining.extend(drain(store, reservation).await?);
    }
    let leases = count_leases(store, uid).await?;
    if leases > 0 {
        return Ok(Retired::Draining { leases });
    }
    for reservation in draining {
        delete(store, &reservation).await?;
    }
    Ok(Retired::Gone)
}

/// How many leases a Network's UID has in the store.
pub(super) async fn count_leases<S: Store>(store: &S, uid: &str) -> Result<u32, StoreError> {
    let labels = Labels::from([(NETWORK_UID_LABEL.to_owned(), Some(uid.to_owned()))]);
    let listed = store.list::<NetworkLease>(&labels).await?;
    Ok(u32::try_from(listed.len()).unwrap_or(u32::MAX))
}

/// Takes back `draining`: the Network lives on, and leases turned up.
pub(super) async fn keep<S: Store>(store: &S, reservations: Vec<Reservation>) -> Result<(), StoreError> {
    for reservation in reservations {
        let Some(mut now) = store.get::<Reservation>(&ObjectName::of(&reservation)).await? else { continue };
        if let Some(status) = now.status.as_mut().filter(|status| status.draining) {
            status.draining = false;
            store.update_status(&now).await?;
        }
    }
    Ok(())
}

async fn drain<S: Store>(store: &S, mut reservation: Reservation) -> Result<Option<Reservation>, StoreError> {
    if is_draining(&reservation) {
        return Ok(Some(reservation));
    }
    let verified = reservation.status.as_ref().is_some_and(|status| status.verified);
    reservation.status = Some(ReservationStatus { verified, draining: true });
    match store.update_status(&reservation).await {
        Ok(draining) => Ok(Some(draining)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn delete<S: Store>(store: &S, reservation: &Reservation) -> Result<(), StoreError> {
    match store
        .delete::<Reservation>(&ObjectName::of(reservation), &Preconditions::unchanged(reservation))
        .await
    {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives up all that belongs to Networks that are gone, or to leases that are. Goes on past errors, and returns
/// the first.
pub(super) async fn sweep<S: Store>(store: &S, view: &View) -> Result<(), StoreError> {
    let mut first_error = Ok(());
    for (uid, reservations) in orphans(view) {
        let swept = sweep_owner(store, view, &uid, reservations).await;
        first_error = first_error.and(swept);
    }
    for reservation in view.reservations.all() {
        // There may be one for every pod, and with a claim comes its lease: a look at each would cost too much.
        let kept = reservation.spec.lease.as_ref().filter(|_| is_claim_name(&reservation.name_any()));
        if reservation.spec.lease.is_some() && !kept.is_some_and(|lease| view.leases.knows(&lease.name)) {
            let swept = sweep_of_lease(store, &reservation).await;
            first_error = first_error.and(swept);
        }
    }
    first_error
}

/// Reservations by owner's UID, of owners that the view does not know as living.
fn orphans(view: &View) -> Vec<(String, Vec<Reservation>)> {
    let mut orphans = std::collections::BTreeMap::<String, Vec<Reservation>>::new();
    for reservation in view.reservations.all() {
        let owner = &reservation.spec.network;
        let network = view.networks.get(&ObjectName::namespaced(&owner.namespace, &owner.name));
        let lives = network.is_some_and(|network| is_owner(&network, &owner.uid));
        if !lives && reservation.spec.lease.is_none() {
            orphans.entry(owner.uid.clone()).or_default().push(Reservation::clone(&reservation));
        }
    }
    orphans.into_iter().collect()
}

fn is_owner(network: &Network, uid: &str) -> bool {
    network.metadata.uid.as_deref() == Some(uid) && network.metadata.deletion_timestamp.is_none()
}

async fn sweep_owner<S: Store>(
    store: &S,
    view: &View,
    uid: &str,
    reservations: Vec<Reservation>,
) -> Result<(), StoreError> {
    if view.leases.count_of_uid(uid) > 0 && reservations.iter().all(is_draining) {
        return Ok(());
    }
    let Some(owner) = reservations.first().map(|reservation| reservation.spec.network.clone()) else {
        return Ok(());
    };
    // The view may be behind: a Network that was just made has Reservations before the view knows it.
    let network = store.get::<Network>(&ObjectName::namespaced(&owner.namespace, &owner.name)).await?;
    if network.is_some_and(|network| is_owner(&network, uid)) {
        return Ok(());
    }
    let count = reservations.len();
    match retire(store, uid, reservations).await? {
        Retired::Gone => {
            tracing::info!(network = %format_args!("{}/{}", owner.namespace, owner.name), uid, count, "freed what a removed network had");
        }
        Retired::Draining { .. } => {
            tracing::info!(network = %format_args!("{}/{}", owner.namespace, owner.name), uid, "a removed network keeps its reservations until its last attachment ends");
        }
    }
    Ok(())
}

/// An address or MAC goes with the lease that asked for it, should the release have come only half way.
async fn sweep_of_lease<S: Store>(store: &S, reservation: &Reservation) -> Result<(), StoreError> {
    let Some(owner) = &reservation.spec.lease else { return Ok(()) };
    let lease = store.get::<NetworkLease>(&ObjectName::cluster(&owner.name)).await?;
    if lease.is_some_and(|lease| belongs(owner, &reservation.name_any(), &lease)) {
        return Ok(());
    }
    tracing::info!(
        reservation = reservation.name_any(),
        lease = owner.name,
        "freed what a lease left behind"
    );
    delete(store, reservation).await
}
