//! How the agent's threads wait for each other and for the end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One thread of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Duty {
    /// The plugin and its files.
    Upkeep,
    /// The node's token.
    Credential,
    /// What the node has.
    Inventory,
    /// What is dead.
    Reap,
}

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The pause is over.
    InTime,
    /// Another duty has news.
    ByBell,
    /// It is time to end.
    ToEnd,
}

/// A bell for each duty, and the order to end.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    stopping: AtomicBool,
    rung: Mutex<BTreeSet<Duty>>,
    changed: Condvar,
}

impl Signals {
    /// Waits for this duty's bell, `pause` at most.
    pub(crate) fn wait(&self, duty: Duty, pause: Duration) -> Woken {
        let deadline = Instant::now() + pause;
        let mut rung = self.lock();
        loop {
            if self.is_stopping() {
                return Woken::ToEnd;
            }
            if rung.remove(&duty) {
                return Woken::ByBell;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::InTime;
            }
            rung = self.changed.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets a duty look again now, or as soon as it is through with what it does.
    pub(crate) fn ring(&self, duty: Duty) {
        self.lock().insert(duty);
        self.changed.notify_all();
    }

    /// Ends all waiting.
    pub(crate) fn stop(&self) {
        // Under the lock, so that nobody who is about to wait misses it.
        let rung = self.lock();
        self.stopping.store(true, Ordering::Relaxed);
        drop(rung);
        self.changed.notify_all();
    }

    /// Whether it is time to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The same, for who watches it.
    pub(crate) fn stopping(&self) -> &AtomicBool {
        &self.stopping
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Duty>> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_bell_is_heard_once_and_by_its_own_duty() {
        let signals = Signals::default();
        let moment = Duration::from_millis(1);
        signals.ring(Duty::Reap);
        assert_eq!(signals.wait(Duty::Inventory, moment), Woken::InTime);
        assert_eq!(signals.wait(Duty::Reap, LONG), Woken::ByBell);
        assert_eq!(signals.wait(Duty::Reap, moment), Woken::InTime, "not twice");
    }

    #[test]
    fn the_end_wakes_all() {
        let signals = Signals::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| signals.wait(Duty::Reap, LONG));
            signals.stop();
            assert_eq!(waiting.join().unwrap(), Woken::ToEnd);
        });
        assert_eq!(signals.wait(Duty::Upkeep, LONG), Woken::ToEnd);
    }
}
