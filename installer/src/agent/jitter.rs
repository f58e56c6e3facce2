//! Keeping thousands of agents from doing the same at the same moment.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// A quarter more or less than this, at random.
pub(crate) fn around(duration: Duration) -> Duration {
    // The standard library seeds each of these anew.
    let random = RandomState::new().build_hasher().finish();
    let share = u32::try_from(random % 501).unwrap_or(0);
    duration * (750 + share) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_differs_and_stays_near() {
        let hour = Duration::from_secs(3600);
        let drawn: std::collections::HashSet<Duration> = (0..50).map(|_| around(hour)).collect();
        assert!(drawn.len() > 10);
        assert!(drawn.iter().all(|one| (hour * 3 / 4..=hour * 5 / 4).contains(one)), "{drawn:?}");
    }
}
