//! What there is to do, gathered from changes so that many cost one pass.

use std::collections::BTreeSet;

use knap_api::Network;

use super::choose::seniority_of;
use super::fetch::Fetched;
use super::status::is_ready;
use crate::store::ObjectName;
use crate::view::{Change, View};

/// What a pass has to look at.
#[derive(Debug, Default)]
pub(super) struct Work {
    all: bool,
    /// Networks that are not Ready: what they wait for may be free now.
    waiting: bool,
    sweep: bool,
    counts: bool,
    networks: BTreeSet<ObjectName>,
}

impl Work {
    pub(super) fn everything() -> Self {
        Self { all: true, sweep: true, counts: true, ..Self::default() }
    }

    pub(super) fn add(&mut self, change: Change) {
        match change {
            Change::Network(name) => {
                self.networks.insert(name);
            }
            Change::Everything => self.all(),
            Change::Reservation(owner) => {
                self.networks.insert(owner);
            }
            Change::ReservationGone(owner) => {
                self.networks.insert(owner);
                self.waiting = true;
            }
            Change::NetworkGone | Change::Drained(_) => {
                self.sweep = true;
                self.waiting = true;
            }
            // How many can serve follows with the other counts.
            Change::Node(_) => {}
        }
    }

    pub(super) fn all(&mut self) {
        *self = Self::everything();
    }

    pub(super) fn sweep(&mut self) {
        self.sweep = true;
    }

    /// Counts of leases are to follow.
    pub(super) fn counts(&mut self) {
        self.counts = true;
    }

    pub(super) const fn counts_wanted(&self) -> bool {
        self.counts
    }

    pub(super) const fn sweeps(&self) -> bool {
        self.sweep
    }

    pub(super) fn is_empty(&self) -> bool {
        !(self.all || self.waiting || self.sweep || self.counts) && self.networks.is_empty()
    }

    /// The Networks to look at, the oldest first: who came first is served first.
    pub(super) fn networks(&self, view: &View, fetched: &mut Fetched) -> Vec<ObjectName> {
        let mut networks: Vec<_> = if self.all || self.waiting || self.counts {
            let mut all = view.networks.all();
            all.retain(|network| {
                self.all
                    || (self.waiting && !is_ready(network))
                    || self.networks.contains(&ObjectName::of(&**network))
                    || (self.counts && counts_differ(network, view, fetched))
            });
            all
        } else {
            self.networks.iter().filter_map(|name| view.networks.get(name)).collect()
        };
        networks.sort_by_cached_key(|network| seniority_of(&**network));
        networks.iter().map(|network| ObjectName::of(&**network)).collect()
    }
}

fn counts_differ(network: &Network, view: &View, fetched: &mut Fetched) -> bool {
    let Some(status) = &network.status else { return false };
    let uid = network.metadata.uid.as_deref().unwrap_or_default();
    if status.attachments != u64::from(view.leases.count_of_uid(uid)) {
        return true;
    }
    let class = status.class.as_deref().filter(|_| is_ready(network));
    let nodes = class.and_then(|class| fetched.nodes(view, network, class));
    nodes.is_some() && nodes != status.nodes
}
