//! What there is to do, and in which order.
//!
//! Networks compete: for numbers, for subnets, for links that only one can have, for what their namespace may have of a class.
//! Who came first is served first, so all that may still take something are *claims*, the oldest first. A change that comes
//! meanwhile takes the place of its Network's age among them, not the last one; and whenever something comes free, all that wait
//! are claims again. So a claim is never made while an older one is known of that was not looked at since.
//!
//! A Network that holds all it needs competes with nobody. What is left to do for it is to say so, in its definitions and its
//! status; where that takes a write, it may take one for each of ten thousand. This is *upkeep*, and comes when there is no
//! claim: it can't delay one by more than a turn.

use std::collections::{BTreeMap, BTreeSet};

use knap_api::Network;
use knap_core::Seniority;
use tokio::time::{Duration, Instant};

use super::choose::seniority_of;
use super::fetch::Fetched;
use super::status::is_ready;
use crate::store::{ObjectName, order_of};
use crate::view::{Change, View};

/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_secs(1);

/// Networks to look at, and what is known of changes that are not in their places yet.
#[derive(Debug, Default)]
pub(super) struct Work {
    all: bool,
    /// Networks that are not Ready: what they wait for may be free now.
    waiting: bool,
    sweep: bool,
    counts: bool,
    changed: BTreeSet<ObjectName>,
    due: BTreeMap<(Rank, Seniority), Due>,
    /// Networks as they were written, with another class than before, until the view tells of that.
    moved: Vec<Network>,
    failed: Option<Failed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Claim,
    Upkeep,
}

/// A Network to look at.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) name: ObjectName,
    pub(super) care: Care,
}

/// How far to go with a Network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// It has not changed itself: if it has all it needs, the rest is upkeep.
    Claim,
    /// It has changed: all that this leads to, at once.
    Change,
    /// All that is left, with the counts in its status.
    Upkeep,
}

/// What could not be done.
#[derive(Debug)]
struct Failed {
    networks: BTreeSet<ObjectName>,
    sweep: bool,
    again: Instant,
}

impl Work {
    pub(super) fn everything() -> Self {
        let mut work = Self::default();
        work.all();
        work
    }

    pub(super) fn add(&mut self, change: Change) {
        match change {
            Change::Network(name) => {
                self.changed.insert(name);
            }
            Change::Everything => self.all(),
            Change::Reservation(owner) => {
                self.changed.insert(owner);
            }
            Change::ReservationGone(owner) => {
                self.changed.insert(owner);
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
        (self.all, self.sweep, self.counts) = (true, true, true);
    }

    /// A class serves a Network less: what waits may have its place.
    pub(super) fn room(&mut self) {
        self.waiting = true;
    }

    /// Counts of leases and nodes are to follow.
    pub(super) fn counts(&mut self) {
        self.counts = true;
    }

    /// Whether there is a sweep to do, now.
    pub(super) fn take_sweep(&mut self) -> bool {
        std::mem::take(&mut self.sweep)
    }

    /// Whether there is nothing to do now.
    pub(super) fn is_empty(&self) -> bool {
        !(self.all || self.waiting || self.sweep || self.counts)
            && self.changed.is_empty()
            && self.due.is_empty()
    }

    /// Forgets of what was written in earlier turns that which a picture will have that is taken from now on.
    pub(super) fn catch_up(&mut self, view: &View) {
        self.moved.retain(|written| is_ahead(view, written));
    }

    /// Adds the rest to such a picture.
    pub(super) fn recall(&self, fetched: &mut Fetched) {
        self.moved.iter().for_each(|written| fetched.note_class(written));
    }

    /// Keeps what was written in a turn for the next.
    pub(super) fn remember(&mut self, moved: Vec<Network>) {
        self.moved.extend(moved);
    }

    /// Puts all changes in their places.
    pub(super) fn gather(&mut self, view: &View, fetched: &mut Fetched) {
        let (all, waiting) = (std::mem::take(&mut self.all), std::mem::take(&mut self.waiting));
        let counts = std::mem::take(&mut self.counts);
        if all || waiting || counts {
            for network in view.networks.all() {
                if all || (waiting && !is_ready(&network)) {
                    self.put(Rank::Claim, &network, Care::Claim);
                }
                if counts && counts_differ(&network, view, fetched) {
                    self.put(Rank::Upkeep, &network, Care::Upkeep);
                }
            }
        }
        for name in std::mem::take(&mut self.changed) {
            if let Some(network) = view.networks.get(&name) {
                self.put(Rank::Claim, &network, Care::Change);
            }
        }
    }

    fn put(&mut self, rank: Rank, network: &Network, care: Care) {
        let due = Due { name: ObjectName::of(network), care };
        // A change may be in this place: then that is more.
        let place = self.due.entry((rank, seniority_of(network)));
        place.and_modify(|there| there.care = there.care.or(care)).or_insert(due);
    }

    /// The next in the order.
    pub(super) fn next(&mut self) -> Option<Due> {
        self.due.pop_first().map(|(_, due)| due)
    }

    /// A Network has all it needs: what is left may wait.
    pub(super) fn settled(&mut self, network: &Network) {
        self.put(Rank::Upkeep, network, Care::Upkeep);
    }

    /// To be tried again, but not at once.
    pub(super) fn failed(&mut self, network: ObjectName) {
        self.failures().networks.insert(network);
    }

    /// The same, for the sweep.
    pub(super) fn failed_sweep(&mut self) {
        self.failures().sweep = true;
    }

    fn failures(&mut self) -> &mut Failed {
        let again = Instant::now() + RETRY;
        self.failed.get_or_insert_with(|| Failed { networks: BTreeSet::new(), sweep: false, again })
    }

    /// When to try again what failed.
    pub(super) fn again(&self) -> Option<Instant> {
        self.failed.as_ref().map(|failed| failed.again)
    }

    /// What failed is to do now.
    pub(super) fn retry(&mut self) {
        if let Some(failed) = self.failed.take() {
            self.changed.extend(failed.networks);
            self.sweep |= failed.sweep;
        }
    }
}

impl Care {
    const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Claim, other) => other,
            (this, _) => this,
        }
    }
}

/// Whether the view has an older state of the Network than this one, which was written.
fn is_ahead(view: &View, written: &Network) -> bool {
    let known = view.networks.get(&ObjectName::of(written));
    known.is_some_and(|known| {
        known.metadata.uid == written.metadata.uid && order_of(&*known) < order_of(written)
    })
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
