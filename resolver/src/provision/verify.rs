//! The look afterwards: subnets of unequal size overlap under different names, and only a list shows it (design: the
//! one rule for everything scarce).

use std::sync::Arc;

use knap_api::{Reservation, ReservationStatus};
use knap_core::first_conflict;
use kube::ResourceExt;

use super::reserved::{Reserved, claim_of};
use crate::store::{Labels, ObjectName, Preconditions, Store, StoreError};

/// What the look showed.
pub(super) enum Verdict {
    /// It stays, and is marked so.
    Verified,
    /// It was in the way of this one, and is deleted.
    Conflict(Arc<Reservation>),
}

/// Looks whether an unverified subnet may stay. It must be in the store already when this is called.
pub(super) async fn verify<S: Store>(
    store: &S,
    mine: &Reservation,
    reserved: &mut Reserved,
) -> Result<Verdict, StoreError> {
    let mut all = store.list::<Reservation>(&Labels::new()).await?;
    let claims: Vec<_> = all.iter().filter_map(claim_of).collect();
    let conflict =
        claim_of(mine).and_then(|mine| first_conflict(&mine, &claims).map(|other| other.name.clone()));
    if let Some(other) = conflict.and_then(|name| all.iter().position(|known| known.name_any() == name)) {
        let other = Arc::new(all.swap_remove(other));
        reserved.note(Arc::clone(&other));
        let name = ObjectName::of(mine);
        match store.delete::<Reservation>(&name, &Preconditions::unchanged(mine)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => reserved.forget(mine),
            Err(error) => return Err(error),
        }
        return Ok(Verdict::Conflict(other));
    }
    let mut verified = mine.clone();
    verified.status = Some(ReservationStatus { verified: true, draining: false });
    let verified = store.update_status(&verified).await?;
    reserved.note(Arc::new(verified));
    Ok(Verdict::Verified)
}
