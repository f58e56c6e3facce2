//! Shows that proposing a slot costs the same however full a Network is. Run with
//! `cargo run --release -p knap-core --example candidate_cost`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use knap_core::{FreeSlots, Slot, SlotRanges};

const PROPOSALS: u32 = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    let empty = FreeSlots::new(SlotRanges::from(1..255));
    let mut full = FreeSlots::new(SlotRanges::from(1..Slot::COUNT - 1));
    // All but every millionth.
    for slot in (1..Slot::COUNT - 1).filter(|number| number % 1_000_000 != 5).filter_map(Slot::new) {
        full.occupy(slot);
    }
    // In turn, so that a busy machine slows both.
    let mut rounds: Vec<(Duration, Duration)> = (0..ROUNDS).map(|_| (time(&empty), time(&full))).collect();
    rounds.sort_unstable();
    let Some((empty_time, full_time)) = rounds.get(ROUNDS / 2) else { return };
    println!("empty /24:                       {:>6.1} ns a proposal", nanoseconds(*empty_time));
    println!(
        "/8 with {} free of {}:  {:>6.1} ns a proposal",
        full.usable() - full.occupied(),
        full.usable(),
        nanoseconds(*full_time)
    );
}

/// How long it takes to propose slots to a million askers.
fn time(slots: &FreeSlots) -> Duration {
    let start = Instant::now();
    for asker in 0..PROPOSALS {
        // Askers' hashes are spread over all numbers.
        black_box(slots.candidate(black_box(asker.wrapping_mul(0x9e37_79b9))));
    }
    start.elapsed()
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(PROPOSALS)
}
