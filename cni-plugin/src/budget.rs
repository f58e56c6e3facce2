//! The time of one ADD, and who may spend it.

use std::time::{Duration, Instant};

/// An ADD is bounded, undoing included: the kubelet gives a sandbox minutes for all its interfaces together.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    started: Instant,
    total: Duration,
}

/// At most so much goes to the resolver in answering an ADD. With the release of a failed one it is 10 s.
const LONGEST_QUESTION: Duration = Duration::from_secs(8);

/// How long old tombstones may keep an ADD from its own question.
const LONGEST_FLUSH: Duration = Duration::from_secs(1);

impl Budget {
    /// From `started` on.
    pub fn new(started: Instant, total: Duration) -> Self {
        Self { started, total }
    }

    /// When everything is over.
    pub fn end(&self) -> Instant {
        self.started + self.total
    }

    /// When delegates are killed: the rest is for undoing.
    pub fn delegates(&self) -> Instant {
        self.started + self.total.mul_f32(0.8)
    }

    /// When another call must have let go of the attachment.
    pub fn lock(&self) -> Instant {
        self.started + self.total.mul_f32(0.5)
    }

    /// How long the resolver may take from now on, `spent` having gone to it already.
    pub fn question(&self, spent: Duration) -> Duration {
        let share = LONGEST_QUESTION.min(self.total.mul_f32(0.4)).saturating_sub(spent);
        share.min(self.delegates().saturating_duration_since(Instant::now()))
    }

    /// When tombstones are left for another call.
    pub fn flush(&self) -> Instant {
        Instant::now() + LONGEST_FLUSH.min(self.total / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_out_leaves_time_to_undo() {
        for seconds in [1, 5, 30, 120] {
            let started = Instant::now();
            let budget = Budget::new(started, Duration::from_secs(seconds));
            let question = budget.question(Duration::ZERO);
            assert!(question <= Duration::from_secs(8) && started + question < budget.delegates());
            assert!(budget.delegates() < budget.end());
        }
    }
}
