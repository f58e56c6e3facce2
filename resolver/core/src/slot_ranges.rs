//! Sets of slots, kept as ranges: a Network has few, however many slots it has.

use std::ops::Range;

use crate::Slot;

/// Slots of one Network, in ascending ranges that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotRanges {
    spans: Vec<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    first: u32,
    end: u32,
    /// How many slots the spans before this one have.
    before: u32,
}

impl SlotRanges {
    /// Takes ranges in any order, which may overlap. What lies beyond `Slot::COUNT` is cut off.
    pub fn new(ranges: impl IntoIterator<Item = Range<u32>>) -> Self {
        let mut ranges: Vec<_> = ranges
            .into_iter()
            .map(|range| range.start..range.end.min(Slot::COUNT))
            .filter(|range| !range.is_empty())
            .collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut spans: Vec<Span> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match spans.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                last => {
                    let before = last.map_or(0, |last| last.before + (last.end - last.first));
                    spans.push(Span { first: range.start, end: range.end, before });
                }
            }
        }
        Self { spans }
    }

    /// How many slots there are.
    pub fn count(&self) -> u32 {
        self.spans.last().map_or(0, |last| last.before + (last.end - last.first))
    }

    /// Whether the slot is one of these.
    pub fn contains(&self, slot: Slot) -> bool {
        let after = self.spans.partition_point(|span| span.first <= slot.get());
        after.checked_sub(1).and_then(|index| self.spans.get(index)).is_some_and(|span| slot.get() < span.end)
    }

    /// The slot that has `index` others before it.
    pub fn nth(&self, index: u32) -> Option<Slot> {
        let after = self.spans.partition_point(|span| span.before <= index);
        let span = self.spans.get(after.checked_sub(1)?)?;
        let slot = span.first + (index - span.before);
        if slot < span.end { Slot::new(slot) } else { None }
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range<u32>> {
        self.spans.iter().map(|span| span.first..span.end)
    }

    /// All other slots below `Slot::COUNT`.
    #[must_use]
    pub fn complement(&self) -> Self {
        let starts = std::iter::once(0).chain(self.spans.iter().map(|span| span.end));
        let ends = self.spans.iter().map(|span| span.first).chain(std::iter::once(Slot::COUNT));
        Self::new(starts.zip(ends).map(|(start, end)| start..end))
    }

    /// Slots that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.iter().chain(other.iter()))
    }

    /// Slots that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.complement().union(&other.complement()).complement()
    }

    /// Slots that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }
}

impl From<Range<u32>> for SlotRanges {
    fn from(range: Range<u32>) -> Self {
        Self::new(std::iter::once(range))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<Range<u32>>> {
        prop::collection::vec((0u32..80, 0u32..12).prop_map(|(start, more)| start..start + more), 0..8)
    }

    fn naive(ranges: &[Range<u32>]) -> BTreeSet<u32> {
        ranges.iter().cloned().flatten().collect()
    }

    fn listed(ranges: &SlotRanges) -> BTreeSet<u32> {
        ranges.iter().flatten().collect()
    }

    #[test]
    fn the_end_is_cut_off() {
        let all = SlotRanges::from(0..u32::MAX);
        assert_eq!(all.count(), Slot::COUNT);
        assert_eq!(all.nth(Slot::COUNT), None);
        assert_eq!(all.complement(), SlotRanges::default());
        assert_eq!(SlotRanges::default().complement(), all);
        assert_eq!(SlotRanges::default().nth(0), None);
    }

    proptest! {
        #[test]
        fn they_are_sets(a in ranges(), b in ranges()) {
            let (left, right) = (SlotRanges::new(a.clone()), SlotRanges::new(b.clone()));
            let (a, b) = (naive(&a), naive(&b));
            prop_assert_eq!(listed(&left), a.clone());
            prop_assert_eq!(left.count() as usize, a.len());
            prop_assert_eq!(listed(&left.union(&right)), &a | &b);
            prop_assert_eq!(listed(&left.intersection(&right)), &a & &b);
            prop_assert_eq!(listed(&left.without(&right)), &a - &b);
            for (index, number) in a.iter().enumerate() {
                prop_assert_eq!(left.nth(index as u32).map(Slot::get), Some(*number));
            }
            prop_assert_eq!(left.nth(a.len() as u32), None);
            for number in 0..100 {
                prop_assert_eq!(left.contains(Slot::new(number).unwrap()), a.contains(&number));
            }
        }
    }
}
