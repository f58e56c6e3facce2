//! Keeping thousands of agents from doing the same at the same moment.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// A quarter more or less than this, at random.
pub(crate) fn around(duration: Duration) -> Duration {
    duration * (750 + random(500)) / 1000
}

/// This, or up to a quarter less, at random.
pub(crate) fn at_most(duration: Duration) -> Duration {
    duration * (750 + random(250)) / 1000
}

/// From none to `most`.
fn random(most: u32) -> u32 {
    // The standard library seeds each of these anew.
    let random = RandomState::new().build_hasher().finish();
    u32::try_from(random % (u64::from(most) + 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn it_differs_and_stays_near() {
        let hour = Duration::from_secs(3600);
        let drawn: HashSet<Duration> = (0..50).map(|_| around(hour)).collect();
        assert!(drawn.len() > 10);
        assert!(drawn.iter().all(|one| (hour * 3 / 4..=hour * 5 / 4).contains(one)), "{drawn:?}");
        let drawn: HashSet<Duration> = (0..50).map(|_| at_most(hour)).collect();
        assert!(drawn.len() > 10);
        assert!(drawn.iter().all(|one| (hour * 3 / 4..=hour).contains(one)), "{drawn:?}");
    }
}
