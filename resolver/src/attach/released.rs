//! Attempts that were released lately: a DELETE that overtakes its PUT must win.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use knap_protocol::Attempt;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::view::attempt_hash;

/// Remembers attempts for as long as a PUT of theirs may be under way.
#[derive(Debug)]
pub(super) struct Released {
    keep: Duration,
    attempts: Mutex<Attempts>,
}

/// By hash, to remember many: that two attempts of one minute share 64 bits is not worth a thought.
#[derive(Debug, Default)]
struct Attempts {
    hashes: HashSet<u64>,
    oldest: VecDeque<(Instant, u64)>,
}

impl Released {
    pub(super) fn new(keep: Duration) -> Self {
        Self { keep, attempts: Mutex::default() }
    }

    /// From now on no lease is made for this attempt. To be called before its leases are looked for.
    pub(super) fn remember(&self, attempt: &Attempt) {
        let (now, hash) = (Instant::now(), attempt_hash(attempt.as_str()));
        let mut attempts = self.attempts.lock();
        while let Some((_, expired)) = attempts.oldest.pop_front_if(|(when, _)| *when <= now) {
            attempts.hashes.remove(&expired);
        }
        if attempts.hashes.insert(hash) {
            attempts.oldest.push_back((now + self.keep, hash));
        }
    }

    /// Whether it was released. To be asked after its leases are made.
    pub(super) fn contains(&self, attempt: &Attempt) -> bool {
        self.attempts.lock().hashes.contains(&attempt_hash(attempt.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_remembered_for_a_while() {
        let released = Released::new(Duration::from_secs(60));
        let attempts: Vec<Attempt> = ["a", "b"].map(|name| name.parse().unwrap()).into();
        released.remember(&attempts[0]);
        assert!(released.contains(&attempts[0]) && !released.contains(&attempts[1]));
        tokio::time::advance(Duration::from_secs(61)).await;
        released.remember(&attempts[1]);
        assert!(!released.contains(&attempts[0]) && released.contains(&attempts[1]));
    }
}
