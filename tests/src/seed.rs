//! Random choices that can be repeated.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A small generator (SplitMix64) whose seed is printed, and taken from `KNAP_SEED` where that is set.
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// Chooses a seed and prints it under the test's name.
    pub fn printed(test: &str) -> Self {
        let given = std::env::var("KNAP_SEED").ok();
        let seed = given.map_or_else(
            || RandomState::new().build_hasher().finish(),
            |text| text.parse().unwrap_or_else(|error| panic!("KNAP_SEED={text}: {error}")),
        );
        eprintln!("{test}: repeat with KNAP_SEED={seed}");
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound.max(1) as u64).unwrap_or(0)
    }

    /// A generator for another thread, which this one's seed determines.
    #[must_use]
    pub fn child(&mut self) -> Self {
        Self(self.number())
    }

    /// Brings the items into another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
