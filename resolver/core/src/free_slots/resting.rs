//! Slots freed a short while ago, which are used again last.

use std::collections::{BTreeMap, HashMap};

use crate::Slot;

/// How many slots rest at most. In a Network with more free slots than this, candidates begin anywhere, and seldom
/// hit one that was just freed; in a smaller one the order is exact.
const LIMIT: usize = 1 << 14;

/// A queue of slots, each in it once, that forgets the oldest beyond `LIMIT`.
#[derive(Debug, Clone, Default)]
pub(super) struct Resting {
    queue: BTreeMap<u64, Slot>,
    turns: HashMap<Slot, u64>,
    next_turn: u64,
}

impl Resting {
    /// Puts a slot that is not resting at the end; returns the one that has rested long enough, if the queue is full.
    pub(super) fn push(&mut self, slot: Slot) -> Option<Slot> {
        self.queue.insert(self.next_turn, slot);
        self.turns.insert(slot, self.next_turn);
        self.next_turn += 1;
        if self.queue.len() <= LIMIT {
            return None;
        }
        let (_, rested) = self.queue.pop_first()?;
        self.turns.remove(&rested);
        Some(rested)
    }

    /// Whether the slot was resting.
    pub(super) fn remove(&mut self, slot: Slot) -> bool {
        self.turns.remove(&slot).is_some_and(|turn| self.queue.remove(&turn).is_some())
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.turns.contains_key(&slot)
    }

    /// The one that rests the longest.
    pub(super) fn oldest(&self) -> Option<Slot> {
        self.queue.first_key_value().map(|(_, slot)| *slot)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        assert_eq!(self.queue.len(), self.turns.len());
        self.queue.len()
    }
}
