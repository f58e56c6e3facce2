//! Time that no clock on the wall decides.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Tells the time. Comes in from outside, so that tests can let days pass.
pub(crate) trait Clock: Send + Sync {
    /// Since this boot began, with the time that the machine slept: goes on over restarts of the agent, and never jumps.
    fn since_boot(&self) -> Duration;
}

/// The kernel's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BootClock;

impl Clock for BootClock {
    fn since_boot(&self) -> Duration {
        // This clock always exists; were it unreadable, everything that is timed would simply be due.
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
    }
}

/// One that a test sets.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(crate) struct SetClock(std::sync::Arc<std::sync::Mutex<Duration>>);

#[cfg(test)]
impl SetClock {
    /// Lets it jump, forward or back.
    pub(crate) fn set(&self, since_boot: Duration) {
        *self.0.lock().unwrap() = since_boot;
    }
}

#[cfg(test)]
impl Clock for SetClock {
    fn since_boot(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let first = BootClock.since_boot();
        assert!(first > Duration::ZERO && BootClock.since_boot() >= first);
    }
}
