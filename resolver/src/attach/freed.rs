//! The end of a lease: what some of its holders have is freed, and with the last of them the lease. Its content decides whose
//! it is, preconditions decide that it is still that.

use knap_api::{Holder, NetworkLease, Reservation, ReservedForLease};
use kube::ResourceExt;

use super::claimant::claim_reservation;
use super::lease::reservations_of;
use crate::store::{ObjectName, Preconditions, Store, StoreError};
use crate::view::{HolderHash, LeaseIndex};

/// Frees what these holders have of a lease, if it is still as it was read. The lease ends with its last holder, unless a claim
/// keeps it.
pub(crate) async fn let_go<S: Store>(
    store: &S,
    leases: &LeaseIndex,
    lease: &NetworkLease,
    goes: impl Fn(&Holder) -> bool,
) -> Result<(), StoreError> {
    if lease.spec.holders.iter().all(&goes) && lease.spec.claim.is_none() {
        return delete(store, leases, lease).await;
    }
    let mut kept = lease.clone();
    for holder in lease.spec.holders.iter().filter(|holder| goes(holder)) {
        kept.labels_mut().remove(&HolderHash::of_holder(holder).label());
    }
    kept.spec.holders.retain(|holder| !goes(holder));
    let kept = store.update(&kept).await?;
    leases.insert(&kept);
    Ok(())
}

/// Deletes a lease if it is still as it was read, and before it what it needs beside its slot.
pub(crate) async fn delete<S: Store>(
    store: &S,
    leases: &LeaseIndex,
    lease: &NetworkLease,
) -> Result<(), StoreError> {
    for name in reservations_of(lease) {
        free_extra(store, lease, &name).await?;
    }
    match store.delete::<NetworkLease>(&ObjectName::of(lease), &Preconditions::unchanged(lease)).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => {
            leases.remove(lease);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn free_extra<S: Store>(store: &S, lease: &NetworkLease, name: &str) -> Result<(), StoreError> {
    let name = ObjectName::cluster(name);
    let Some(there) = store.get::<Reservation>(&name).await? else { return Ok(()) };
    if !there.spec.lease.as_ref().is_some_and(|owner| belongs(owner, &there.name_any(), lease)) {
        return Ok(());
    }
    match store.delete::<Reservation>(&name, &Preconditions::unchanged(&there)).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a Reservation is this very lease's, and not one's of the same name before it.
pub(crate) fn belongs(owner: &ReservedForLease, reservation: &str, lease: &NetworkLease) -> bool {
    let claimed = |claim| claim_reservation(claim, &lease.spec.network.uid) == reservation;
    owner.name == lease.name_any()
        && (lease.spec.claim.as_ref().is_some_and(claimed)
            || lease.spec.holders.iter().any(|holder| holder.attempt == owner.attempt))
}
