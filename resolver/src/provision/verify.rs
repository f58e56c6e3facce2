//! The look afterwards: subnets of unequal size overlap under different names, and only a look at all of them shows it (design:
//! the one rule for everything scarce).
//!
//! Of two that overlap the earlier stays, so each has to see all that are earlier than itself. A watch tells the changes of a
//! kind in their order: once it has told the own Reservation, it has told all earlier ones. So the view, waited for, is as
//! good as a list of everything, and costs nothing. Where the watch is held up, everything is listed.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use knap_api::{Reservation, ReservationStatus};
use knap_core::{AddressRange, first_conflict};
use kube::ResourceExt;
use tokio::time::timeout;

use super::reserved::{Reserved, claim_of};
use crate::store::{Labels, ObjectName, Preconditions, Store, StoreError, order_of};
use crate::view::View;

/// A watch that works tells of a change in less.
const SOON: Duration = Duration::from_secs(1);

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
    changes: Option<&View>,
    mine: &Reservation,
    reserved: &mut Reserved,
) -> Result<Verdict, StoreError> {
    let all = all_earlier(store, changes, mine).await?;
    let conflict = claim_of(mine).and_then(|mine| {
        // There may be many, and few are near.
        let near = all.iter().filter(|other| overlaps(other, mine.cidr));
        let claims: Vec<_> = near.filter_map(|other| claim_of(other)).collect();
        first_conflict(&mine, &claims).map(|other| other.name.clone())
    });
    if let Some(other) = conflict.and_then(|name| all.iter().find(|known| known.name_any() == name)) {
        let other = Arc::clone(other);
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

/// Every Reservation that is earlier than this one, and perhaps later ones.
async fn all_earlier<S: Store>(
    store: &S,
    changes: Option<&View>,
    mine: &Reservation,
) -> Result<Vec<Arc<Reservation>>, StoreError> {
    let name = ObjectName::of(mine);
    let Some(view) = changes else { return listed(store).await };
    let told = view.reservations.until(|table| {
        table.get(&name).filter(|told| told.uid() == mine.uid() && order_of(&**told) >= order_of(mine))
    });
    match timeout(SOON, told).await {
        Ok(_) => Ok(view.reservations.all()),
        Err(_) => listed(store).await,
    }
}

fn overlaps(other: &Reservation, cidr: IpNetwork) -> bool {
    let other = other.spec.cidr.as_deref().and_then(|other| other.parse::<IpNetwork>().ok());
    other.is_some_and(|other| AddressRange::from(other).overlaps(&AddressRange::from(cidr)))
}

async fn listed<S: Store>(store: &S) -> Result<Vec<Arc<Reservation>>, StoreError> {
    let listed = store.list::<Reservation>(&Labels::new()).await?;
    Ok(listed.into_iter().map(Arc::new).collect())
}
