//! What happens on the way to a lease that no single answer shows.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counts since the process began.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// A candidate was somebody else's by the time of its create.
    pub(super) collisions: Counter,
    /// A create's outcome was not known, and it was repeated.
    pub(super) repeats: Counter,
    /// A lease was made, and given up because of what was seen after it.
    pub(super) withdrawals: Counter,
}

impl Counters {
    /// Adds them to what is measured.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "attach_collisions",
            "Slots that somebody else had taken first, so that the next one was tried",
            self.collisions.clone(),
        );
        registry.register(
            "attach_repeats",
            "Creates that were repeated because their outcome was not known",
            self.repeats.clone(),
        );
        registry.register(
            "attach_withdrawals",
            "Leases given up right after they were made, because their Network was no longer to be served",
            self.withdrawals.clone(),
        );
    }
}
