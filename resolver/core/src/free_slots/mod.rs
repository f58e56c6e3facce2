//! Which slot to propose next. Only a proposal: the create of the lease decides.

mod bitmap;
mod resting;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::bitmap::{Bitmap, Block};
use self::resting::Resting;
use crate::{Slot, SlotRanges};

/// The slots of one Network, as far as this process knows them.
///
/// Every operation costs the same however many slots there are and however few of them are free.
#[derive(Debug, Clone)]
pub struct FreeSlots {
    usable: SlotRanges,
    /// Slots not to propose: not usable, occupied, or resting.
    closed: Bitmap,
    /// Freed a short while ago: proposed when nothing else is left.
    resting: Resting,
    /// Occupied though not usable: leases from before a range was reserved, or on an address of one family alone.
    strays: BTreeSet<Slot>,
    /// How many slots are occupied, strays included.
    occupied: u32,
}

impl FreeSlots {
    /// All usable slots free.
    pub fn new(usable: SlotRanges) -> Self {
        let mut closed = Bitmap::EMPTY;
        for range in usable.complement().iter() {
            closed.insert_range(range);
        }
        Self { usable, closed, resting: Resting::default(), strays: BTreeSet::new(), occupied: 0 }
    }

    /// Notes that a lease has the slot, or is about to; false where that was known.
    pub fn occupy(&mut self, slot: Slot) -> bool {
        let news = if self.usable.contains(slot) {
            self.resting.remove(slot) || self.closed.insert(slot.get())
        } else {
            self.strays.insert(slot)
        };
        self.occupied += u32::from(news);
        news
    }

    /// Notes that the slot's lease is gone; false where the slot was not occupied. It rests now.
    pub fn release(&mut self, slot: Slot) -> bool {
        self.free(slot, |slots| {
            if let Some(rested) = slots.resting.push(slot) {
                slots.closed.remove(rested.get());
            }
        })
    }

    /// Takes back an `occupy` that no lease came of, so that the slot need not rest; false where the slot was not
    /// occupied.
    pub fn put_back(&mut self, slot: Slot) -> bool {
        self.free(slot, |slots| {
            slots.closed.remove(slot.get());
        })
    }

    fn free(&mut self, slot: Slot, reopen: impl FnOnce(&mut Self)) -> bool {
        if !self.is_occupied(slot) {
            return false;
        }
        self.occupied -= 1;
        if !self.strays.remove(&slot) {
            reopen(self);
        }
        true
    }

    /// A slot to try: the first free one at or after the start, and from the beginning after the end; where none
    /// is free, the one that rests the longest; none where all are occupied.
    ///
    /// `start` is any number, a hash of the asker: it is taken modulo the number of usable slots, so that askers spread
    /// evenly over a small Network too, and replicas seldom propose one slot to two of them.
    pub fn candidate(&self, start: u32) -> Option<Slot> {
        let start = self.usable.nth(start.checked_rem(self.usable.count())?)?;
        self.closed
            .first_absent(start.get())
            .or_else(|| self.closed.first_absent(0))
            .and_then(Slot::new)
            .or_else(|| self.resting.oldest())
    }

    /// Whether a lease has the slot.
    pub fn is_occupied(&self, slot: Slot) -> bool {
        if self.usable.contains(slot) {
            self.closed.contains(slot.get()) && !self.resting.contains(slot)
        } else {
            self.strays.contains(&slot)
        }
    }

    /// How many slots are occupied, usable or not.
    pub const fn occupied(&self) -> u32 {
        self.occupied
    }

    /// The slots that may be given out.
    pub const fn usable_slots(&self) -> &SlotRanges {
        &self.usable
    }

    /// How many slots may be given out in all.
    pub fn usable(&self) -> u32 {
        self.usable.count()
    }
}
