//! The look that comes after a create: may the Network still be served from what it has reserved?

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use knap_api::Reservation;
use parking_lot::Mutex;

use super::coalesced::Coalesced;
use crate::provision::{is_draining, is_verified};
use crate::store::{ObjectName, Store, StoreError};

/// What is not in order with a Network's Reservations.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Closed {
    /// It is not there, or is another Network's.
    #[error("its reservation {0} is gone; it is being provisioned again")]
    Gone(String),
    /// It may yet lose against an earlier one.
    #[error("its reservation {0} is not verified yet; try again")]
    Unverified(String),
    /// It is being given up.
    #[error("its reservation {0} is being given up, for the Network was removed or changed")]
    Draining(String),
    /// It could not be read.
    #[error("its reservations can't be read: {0}")]
    Unreadable(Arc<StoreError>),
}

type Answer = Result<(), Closed>;

/// A Network's UID, and names of Reservations of it.
pub(super) type Watched = (String, Arc<[String]>);

/// One shared look for all who watch the same Reservations of a Network. Who has prepared it before it changed watches
/// others than who has since, and neither is answered by the other's look.
#[derive(Default)]
pub(super) struct Gates {
    looks: Mutex<HashMap<Watched, Coalesced<Answer>>>,
}

impl Gates {
    /// Looks, with a read that begins after this call, whether every one of these Reservations is there for this
    /// Network and not about to go. One look serves all that ask before it begins.
    pub(super) async fn check<S: Store>(&self, store: &S, uid: &str, reservations: &Arc<[String]>) -> Answer {
        let (uid, reservations) = (uid.to_owned(), Arc::clone(reservations));
        let gate = self.looks.lock().entry((uid.clone(), Arc::clone(&reservations))).or_default().clone();
        let store = store.clone();
        gate.read(move || async move {
            let looks = reservations.iter().map(|name| look(&store, &uid, name));
            join_all(looks).await.into_iter().collect()
        })
        .await
    }

    /// Forgets what nothing is served from any more.
    pub(super) fn retain(&self, is_watched: impl Fn(&Watched) -> bool) {
        self.looks.lock().retain(|watched, _| is_watched(watched));
    }
}

async fn look<S: Store>(store: &S, uid: &str, name: &str) -> Answer {
    let found = store.get::<Reservation>(&ObjectName::cluster(name)).await;
    let reservation = found
        .map_err(|error| Closed::Unreadable(Arc::new(error)))?
        .filter(|reservation| reservation.spec.network.uid == uid)
        .ok_or_else(|| Closed::Gone(name.to_owned()))?;
    if is_draining(&reservation) {
        return Err(Closed::Draining(name.to_owned()));
    }
    // What is named after a number can't overlap another, and needs no look.
    if reservation.spec.cidr.is_some() && !is_verified(&reservation) {
        return Err(Closed::Unverified(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use knap_api::{ReservationSpec, ReservationStatus, ReservedFor};

    use super::*;
    use crate::store::embedded::EmbeddedStore;
    use crate::testing::{Fate, Troubled};

    async fn verified(store: &EmbeddedStore, name: &str) -> Arc<[String]> {
        let network =
            ReservedFor { namespace: "shop".to_owned(), name: "blue".to_owned(), uid: "u1".to_owned() };
        let spec = ReservationSpec {
            network,
            cidr: Some("10.9.0.0/24".to_owned()),
            scope: None,
            routed: false,
            lease: None,
        };
        let mut made = store.create(&Reservation::new(name, spec)).await.unwrap();
        made.status = Some(ReservationStatus { verified: true, draining: false });
        store.update_status(&made).await.unwrap();
        Arc::from([name.to_owned()])
    }

    #[tokio::test]
    async fn who_watches_other_reservations_of_a_network_is_not_answered_by_the_same_look() {
        let store = EmbeddedStore::in_memory().unwrap();
        let (now, before) = (verified(&store, "subnet-b").await, Arc::from(["subnet-a".to_owned()]));
        let gates = Gates::default();
        // The first look is under way until all have asked: the others wait for a turn.
        let open = Arc::new(tokio::sync::Semaphore::new(0));
        let opens = Arc::clone(&open);
        let slow = Troubled::new(&store, move |_| {
            let opens = Arc::clone(&opens);
            async move {
                drop(opens.acquire_owned().await);
                Fate::Served
            }
        });
        let (running, first, second, ()) = tokio::join!(
            gates.check(&slow, "u1", &now),
            gates.check(&slow, "u1", &now),
            gates.check(&slow, "u1", &before),
            async { open.add_permits(1) },
        );
        assert!(running.is_ok() && first.is_ok(), "{running:?} {first:?}");
        assert!(matches!(&second, Err(Closed::Gone(gone)) if gone == "subnet-a"), "{second:?}");
    }
}
