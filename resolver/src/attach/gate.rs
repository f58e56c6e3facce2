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

/// One shared look per Network.
#[derive(Default)]
pub(super) struct Gates {
    by_uid: Mutex<HashMap<String, Coalesced<Answer>>>,
}

impl Gates {
    /// Looks, with a read that begins after this call, whether every one of these Reservations is there for this
    /// Network and not about to go. One look serves all that ask before it begins.
    pub(super) async fn check<S: Store>(&self, store: &S, uid: &str, reservations: &Arc<[String]>) -> Answer {
        let gate = self.by_uid.lock().entry(uid.to_owned()).or_default().clone();
        let (store, reservations, uid) = (store.clone(), Arc::clone(reservations), uid.to_owned());
        gate.read(move || async move {
            let looks = reservations.iter().map(|name| look(&store, &uid, name));
            join_all(looks).await.into_iter().collect()
        })
        .await
    }

    /// Forgets Networks that are not served any more.
    pub(super) fn retain(&self, is_served: impl Fn(&str) -> bool) {
        self.by_uid.lock().retain(|uid, _| is_served(uid));
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
