//! Which slots of one Network are taken, by whom, and which may be proposed.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;

use knap_api::NetworkLease;
use knap_core::{FreeSlots, Slot, SlotRanges};
use uuid::Uuid;

use super::holder::HolderHash;
use crate::store::Preconditions;

/// Who holds a lease, as far as the index remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) holder: HolderHash,
    pub(super) attempt: u64,
    pub(super) node: u32,
    pub(super) boot: u32,
    pub(super) namespace: u32,
}

/// Which object a lease is, and in which of its states: UID and resourceVersion, small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    uid: [u8; 16],
    version: NonZeroU64,
}

impl Identity {
    /// None for what is no UUID or no number: then the object has to be read.
    pub(super) fn of(lease: &NetworkLease) -> Option<Self> {
        let uid: Uuid = lease.metadata.uid.as_deref()?.parse().ok()?;
        let version = lease.metadata.resource_version.as_deref()?.parse().ok()?;
        Some(Self { uid: uid.into_bytes(), version })
    }

    pub(super) fn preconditions(self) -> Preconditions {
        Preconditions {
            uid: Some(Uuid::from_bytes(self.uid).to_string()),
            resource_version: Some(self.version.to_string()),
        }
    }
}

/// One lease. The second holder, of a virtual machine that migrates, is rare enough to live elsewhere.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) uid: u32,
    /// Of a lease that ends with its first holder, and needs nothing beside its slot.
    pub(super) plain: Option<Identity>,
    first: Option<Held>,
    second: Option<Box<Held>>,
}

impl Record {
    pub(super) fn new(uid: u32, plain: Option<Identity>, first: Option<Held>) -> Self {
        Self { uid, plain, first, second: None }
    }

    pub(super) fn and_second(self, second: Option<Held>) -> Self {
        Self { second: second.map(Box::new), ..self }
    }

    /// Of the first holder.
    pub(super) fn attempt(&self) -> Option<u64> {
        self.first.map(|held| held.attempt)
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = &Held> {
        self.first.iter().chain(self.second.as_deref())
    }
}

/// Slots freed lately that are remembered where nothing is offered.
const REMEMBERED: usize = 64;

/// The slots of one Network.
#[derive(Debug, Default)]
pub(super) struct NetworkSlots {
    leases: HashMap<Slot, Record>,
    offer: Option<Offer>,
    /// Freed lately, while nothing was offered here: another replica serves the Network.
    freed: VecDeque<Slot>,
}

#[derive(Debug)]
struct Offer {
    usable: SlotRanges,
    free: FreeSlots,
}

impl NetworkSlots {
    pub(super) fn insert(&mut self, slot: Slot, record: Record) {
        self.leases.insert(slot, record);
        if let Some(offer) = &mut self.offer {
            offer.free.occupy(slot);
        }
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Record> {
        let record = self.leases.remove(&slot)?;
        match &mut self.offer {
            Some(offer) => drop(offer.free.release(slot)),
            None => {
                self.freed.push_back(slot);
                if self.freed.len() > REMEMBERED {
                    self.freed.pop_front();
                }
            }
        }
        Some(record)
    }

    pub(super) fn record(&self, slot: Slot) -> Option<&Record> {
        self.leases.get(&slot)
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = (Slot, &Held)> {
        self.leases.iter().flat_map(|(slot, record)| record.holders().map(|held| (*slot, held)))
    }

    pub(super) fn unheld(&self) -> impl Iterator<Item = Slot> {
        let unheld = self.leases.iter().filter(|(_, record)| record.holders().next().is_none());
        unheld.map(|(slot, _)| *slot)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (Slot, &Record)> {
        self.leases.iter().map(|(slot, record)| (*slot, record))
    }

    pub(super) fn taken(&self) -> impl Iterator<Item = Slot> {
        self.leases.keys().copied()
    }

    pub(super) fn taken_by(&self, uid: u32) -> impl Iterator<Item = Slot> {
        self.leases.iter().filter(move |(_, record)| record.uid == uid).map(|(slot, _)| *slot)
    }

    pub(super) fn offer(&mut self, usable: &SlotRanges) {
        if self.offered() == Some(usable) {
            return;
        }
        let mut free = FreeSlots::new(usable.clone());
        for slot in self.leases.keys() {
            free.occupy(*slot);
        }
        for slot in self.freed.drain(..) {
            if free.occupy(slot) {
                free.release(slot);
            }
        }
        self.offer = Some(Offer { usable: usable.clone(), free });
    }

    /// Takes over what was offered before a watch began anew, so that slots which were freed lately go on resting. What was
    /// freed meanwhile begins to.
    pub(super) fn adopt(&mut self, before: Self) {
        let Some(mut offer) = before.offer else { return };
        for slot in before.leases.keys().filter(|slot| !self.leases.contains_key(slot)) {
            offer.free.release(*slot);
        }
        for slot in self.leases.keys() {
            offer.free.occupy(*slot);
        }
        self.offer = Some(offer);
    }

    pub(super) fn offered(&self) -> Option<&SlotRanges> {
        self.offer.as_ref().map(|offer| &offer.usable)
    }

    pub(super) fn withdraw_offer(&mut self) {
        self.offer = None;
    }

    pub(super) fn propose(&mut self, start: u32) -> Option<Slot> {
        let offer = self.offer.as_mut()?;
        let slot = offer.free.candidate(start)?;
        offer.free.occupy(slot);
        Some(slot)
    }

    pub(super) fn claim(&mut self, slot: Slot) -> bool {
        self.offer.as_mut().is_some_and(|offer| offer.free.occupy(slot))
    }

    pub(super) fn give_back(&mut self, slot: Slot) {
        if !self.leases.contains_key(&slot)
            && let Some(offer) = &mut self.offer
        {
            offer.free.put_back(slot);
        }
    }

    /// Nothing is left to know.
    pub(super) fn is_forgettable(&self) -> bool {
        self.leases.is_empty() && self.offer.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u32) -> Slot {
        Slot::new(number).unwrap()
    }

    fn with_leases(slots: &[u32]) -> NetworkSlots {
        let mut network = NetworkSlots::default();
        for number in slots {
            network.insert(slot(*number), Record::new(0, None, None));
        }
        network
    }

    fn proposals(network: &mut NetworkSlots) -> Vec<u32> {
        std::iter::from_fn(|| network.propose(0)).map(Slot::get).collect()
    }

    #[test]
    fn what_was_freed_while_another_replica_served_is_proposed_last() {
        let mut network = with_leases(&[1, 2, 3]);
        network.remove(slot(1));
        network.offer(&SlotRanges::from(1..6));
        assert_eq!(proposals(&mut network), [4, 5, 1]);
    }

    #[test]
    fn what_rests_goes_on_when_a_watch_begins_anew() {
        let mut before = with_leases(&[1, 2, 3]);
        before.offer(&SlotRanges::from(1..6));
        before.remove(slot(2));
        // Meanwhile 1 was freed and 4 taken.
        let mut fresh = with_leases(&[3, 4]);
        fresh.adopt(before);
        assert_eq!(proposals(&mut fresh), [5, 2, 1]);
    }
}
