//! Attachments: made, released, and compared with what nodes hold.
//!
//! Any number of replicas serve at once. The view proposes; a create decides; a consistent look afterwards shows that the
//! Network may still be served (design: the one rule for everything scarce).

mod answer;
mod asserted;
mod boots;
mod claimant;
mod coalesced;
mod counters;
mod extra;
mod freed;
mod gate;
mod kept;
mod lease;
mod made;
mod make;
mod placement;
mod prepared;
mod proof;
mod quota;
mod reconcile;
mod refusal;
mod release;
mod released;
mod wishes;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use knap_api::NetworkLease;
use knap_protocol::NetworkName;

pub(crate) use claimant::{STATEFUL_SET, claim_reservation};
pub use counters::Counters;
pub(crate) use freed::{belongs, delete, let_go};
pub use gate::Closed;
pub use lease::Asker;
pub use refusal::Refusal;
pub use wishes::WishError;
pub use witness::{FailedAttachment, Witness};

use crate::identity::Pods;
use crate::store::{ObjectName, Store, StoreError};
use crate::view::View;
use boots::BootGates;
use coalesced::Coalesced;
use gate::Gates;
use prepared::Preparations;
use quota::Pending;
use released::Released;

/// The longest that a caller may wait for an attachment.
const LONGEST_DEADLINE: Duration = Duration::from_secs(30);
/// How long a released attempt is remembered: longer than any PUT of it may be under way.
const REMEMBER_RELEASED: Duration = Duration::from_secs(60);

/// How many searches of the whole store by a label may be under way: each has the API server read all leases.
const SEARCHES: usize = 2;

/// Leases of a namespace as a consistent list shows them, shared by all who wait for it.
type Listed = Result<Arc<[NetworkLease]>, Arc<StoreError>>;

/// Serves attachments from a store and the picture of it.
pub struct Attacher<S> {
    store: S,
    view: Arc<View>,
    preparations: Preparations,
    gates: Gates,
    boots: BootGates,
    released: Released,
    pending: Pending,
    counters: Counters,
    pods: Option<Arc<Pods<S>>>,
    witness: Option<Box<dyn Witness>>,
    lists: parking_lot::Mutex<std::collections::HashMap<NetworkName, Coalesced<Listed>>>,
    position: Coalesced<Option<u64>>,
    searches: tokio::sync::Semaphore,
}

impl<S: Store> Attacher<S> {
    /// Serves from this store. The view must be current before the first attachment.
    pub fn new(store: S, view: Arc<View>) -> Self {
        Self {
            store,
            view,
            preparations: Preparations::default(),
            gates: Gates::default(),
            boots: BootGates::default(),
            released: Released::new(REMEMBER_RELEASED),
            pending: Pending::default(),
            counters: Counters::default(),
            pods: None,
            witness: None,
            lists: parking_lot::Mutex::default(),
            position: Coalesced::default(),
            searches: tokio::sync::Semaphore::new(SEARCHES),
        }
    }

    /// What has happened on the way to leases.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Forgets what was kept for Networks that are gone. To be called now and then.
    pub fn tidy(&self) {
        self.boots.retain(|node| self.view.inventories.get(&ObjectName::cluster(node.as_str())).is_some());
        self.lists.lock().retain(|name, _| self.view.network(name).is_some());
        for name in self.preparations.names() {
            if self.view.network(&name).is_none() {
                self.preparations.forget(&name);
                self.view.leases.withdraw_offer(&name);
            }
        }
        let watched = self.preparations.watched();
        self.gates.retain(|look| watched.contains(look));
    }
}

#[cfg(test)]
mod tests;
