use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use proptest::prelude::*;

use super::bitmap::visits;
use super::*;

fn slot(number: u32) -> Slot {
    Slot::new(number).unwrap()
}

/// Numbers where blocks of the bitmap meet, and any other.
fn numbers() -> impl Strategy<Value = u32> {
    let seams = [0, 64, 128, 4096, 8192, 1 << 18, 1 << 19, Slot::COUNT - 64, Slot::COUNT - 1];
    prop_oneof![
        3 => (prop::sample::select(seams.to_vec()), 0u32..3)
            .prop_map(|(seam, off)| (seam + off).saturating_sub(1).min(Slot::COUNT - 1)),
        1 => 0..Slot::COUNT,
        2 => 0u32..200,
    ]
}

#[derive(Debug, Clone)]
enum Change {
    Insert(u32),
    Remove(u32),
    InsertRange(Range<u32>),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let length = prop::sample::select(vec![0, 1, 63, 64, 65, 130, 4096, 4100]);
    let range = (numbers(), length).prop_map(|(start, count)| start..(start + count).min(Slot::COUNT));
    let change = prop_oneof![
        numbers().prop_map(Change::Insert),
        numbers().prop_map(Change::Remove),
        range.prop_map(Change::InsertRange),
    ];
    prop::collection::vec(change, 0..15)
}

proptest! {
    #[test]
    fn a_bitmap_is_a_set(changes in changes(), from in numbers()) {
        let (mut bitmap, mut model) = (Bitmap::EMPTY, BTreeSet::new());
        for change in changes {
            match change {
                Change::Insert(number) => prop_assert_eq!(bitmap.insert(number), model.insert(number)),
                Change::Remove(number) => prop_assert_eq!(bitmap.remove(number), model.remove(&number)),
                Change::InsertRange(range) => {
                    bitmap.insert_range(range.clone());
                    model.extend(range);
                }
            }
        }
        prop_assert_eq!(bitmap.contains(from), model.contains(&from));
        prop_assert_eq!(bitmap.is_empty(), model.is_empty());
        let absent = (from..Slot::COUNT).find(|number| !model.contains(number));
        prop_assert_eq!(bitmap.first_absent(from), absent);
        for number in model {
            prop_assert!(bitmap.remove(number));
        }
        prop_assert!(bitmap.is_empty());
        prop_assert_eq!(bitmap.heap_bytes(), 0);
    }
}

/// `FreeSlots` as one would write it down, with a look at every slot.
#[derive(Debug, Default)]
struct Model {
    usable: BTreeSet<u32>,
    occupied: BTreeSet<u32>,
    resting: VecDeque<u32>,
}

impl Model {
    fn occupy(&mut self, slot: u32) -> bool {
        self.resting.retain(|resting| *resting != slot);
        self.occupied.insert(slot)
    }

    fn release(&mut self, slot: u32) -> bool {
        let known = self.occupied.remove(&slot);
        if known && self.usable.contains(&slot) {
            self.resting.push_back(slot);
        }
        known
    }

    fn candidate(&self, start: u32) -> Option<u32> {
        let count = self.usable.len();
        let start = (start as usize).checked_rem(count)?;
        let free = |slot: &&u32| !self.occupied.contains(slot) && !self.resting.contains(slot);
        let walk = self.usable.iter().cycle().skip(start).take(count);
        walk.clone().find(free).or(self.resting.front()).copied()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Occupy(u32),
    Release(u32),
    PutBack(u32),
    OccupyCandidate(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = || prop_oneof![4 => 0u32..90, 1 => numbers()];
    let step = prop_oneof![
        number().prop_map(Step::Occupy),
        number().prop_map(Step::Release),
        number().prop_map(Step::PutBack),
        any::<u32>().prop_map(Step::OccupyCandidate),
    ];
    prop::collection::vec(step, 0..150)
}

proptest! {
    #[test]
    fn proposals_are_what_a_walk_over_all_slots_finds(
        usable in prop::collection::vec((0u32..80, 0u32..20).prop_map(|(start, more)| start..start + more), 0..5),
        steps in steps(),
        start: u32,
    ) {
        let mut slots = FreeSlots::new(SlotRanges::new(usable.clone()));
        let mut model = Model { usable: usable.into_iter().flatten().collect(), ..Model::default() };
        for step in steps {
            match step {
                Step::Occupy(number) => prop_assert_eq!(slots.occupy(slot(number)), model.occupy(number)),
                Step::Release(number) => prop_assert_eq!(slots.release(slot(number)), model.release(number)),
                Step::PutBack(number) => {
                    prop_assert_eq!(slots.put_back(slot(number)), model.occupied.remove(&number));
                }
                Step::OccupyCandidate(start) => {
                    let candidate = slots.candidate(start);
                    prop_assert_eq!(candidate.map(Slot::get), model.candidate(start));
                    if let Some(candidate) = candidate {
                        prop_assert!(slots.occupy(candidate) && model.occupy(candidate.get()));
                    }
                }
            }
            prop_assert_eq!(slots.occupied() as usize, model.occupied.len());
        }
        prop_assert_eq!(slots.candidate(start).map(Slot::get), model.candidate(start));
        for number in 0..100 {
            prop_assert_eq!(slots.is_occupied(slot(number)), model.occupied.contains(&number));
        }
    }
}

#[test]
fn freed_slots_are_used_last_and_the_oldest_first() {
    let mut slots = FreeSlots::new(SlotRanges::from(1..4));
    for number in [1, 2, 3] {
        assert!(slots.occupy(slot(number)));
    }
    assert_eq!(slots.candidate(7), None);
    assert!(slots.release(slot(3)) && slots.release(slot(1)) && !slots.release(slot(1)));
    assert_eq!(slots.candidate(0), Some(slot(3)));
    assert!(slots.occupy(slot(3)));
    assert_eq!(slots.candidate(2), Some(slot(1)));
    assert!(slots.put_back(slot(2)));
    assert_eq!(slots.candidate(0), Some(slot(2)));
    assert_eq!((slots.occupied(), slots.usable()), (1, 3));
}

/// Blocks looked at for a candidate, at most and in all, over many starts.
fn cost(slots: &FreeSlots, starts: u32) -> (u32, u32) {
    visits::take();
    let mut all = 0;
    let mut most = 0;
    for turn in 0..starts {
        assert!(slots.candidate(turn.wrapping_mul(0x9e37_79b9)).is_some());
        let visited = visits::take();
        all += visited;
        most = most.max(visited);
    }
    (most, all)
}

#[test]
fn a_nearly_full_subnet_of_16_million_costs_what_an_empty_one_of_256_costs() {
    const STARTS: u32 = 10_000;
    /// Down to a word that turns out to be full from the start on, to the end at every level, and once more from the
    /// first slot.
    const DEPTH_TWICE: u32 = 8;

    let (_, empty) = cost(&FreeSlots::new(SlotRanges::from(1..255)), STARTS);

    let mut slots = FreeSlots::new(SlotRanges::from(1..Slot::COUNT - 1));
    let free = [5, 70_000, 70_001, 1 << 20, (1 << 23) + 63, Slot::COUNT - 2];
    // As `occupy` of every slot would leave it, without sixteen million calls.
    slots.closed.insert_range(1..Slot::COUNT - 1);
    slots.occupied = slots.usable();
    for number in free {
        assert!(slots.put_back(slot(number)));
    }
    let (most, full) = cost(&slots, STARTS);
    assert!(most <= DEPTH_TWICE, "{most} blocks for one candidate");
    assert!(2 * full <= 3 * empty, "{full} blocks against {empty} in an empty /24, over {STARTS} candidates");

    // And where every word has room for one, so that nothing is skipped whole.
    for number in (40..Slot::COUNT - 1).step_by(64) {
        slots.put_back(slot(number));
    }
    let (most, scattered) = cost(&slots, STARTS);
    assert!(most <= DEPTH_TWICE, "{most} blocks for one candidate");
    assert!(2 * scattered <= 3 * empty, "{scattered} blocks against {empty} in an empty /24");
}

#[test]
fn a_hundred_thousand_leases_spread_over_16_million_slots_stay_small() {
    let mut slots = FreeSlots::new(SlotRanges::from(1..Slot::COUNT - 1));
    assert!(slots.closed.heap_bytes() < 1024, "an empty subnet takes {} bytes", slots.closed.heap_bytes());
    // A generator of full period modulo 2^24, so that no slot comes twice.
    let mut number = 1u32;
    while slots.occupied() < 100_000 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % Slot::COUNT;
        slots.occupy(slot(number));
    }
    let bytes = slots.closed.heap_bytes();
    assert!(bytes < 1_000_000, "100,000 leases take {bytes} bytes");
}

#[test]
fn what_rests_is_bounded() {
    let mut slots = FreeSlots::new(SlotRanges::from(0..Slot::COUNT));
    for _ in 0..100_000 {
        assert!(slots.occupy(slot(7)) && slots.release(slot(7)));
    }
    assert_eq!(slots.resting.count(), 1);
    for number in 0..100_000 {
        assert!(slots.occupy(slot(number)) && slots.release(slot(number)));
    }
    assert!(slots.resting.count() < 20_000, "{} slots rest", slots.resting.count());
    // Those that have rested long enough are as free as any.
    assert_eq!(slots.candidate(0), Some(slot(0)));
    assert!(!slots.is_occupied(slot(99_999)));
    assert_ne!(slots.candidate(99_999), Some(slot(99_999)));
}
