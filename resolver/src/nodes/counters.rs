//! What becomes of dead boots, counted.

use knap_core::FenceReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Because {
    reason: &'static str,
}

/// Counts since the process began.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    freed: Family<Because, Counter>,
}

impl Counters {
    /// A lease was freed because its boot was condemned.
    pub(crate) fn freed(&self, reason: FenceReason) {
        self.freed.get_or_create(&Because { reason: reason.name() }).inc();
    }

    /// Adds them to what is measured.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "fenced_leases_freed",
            "Leases freed because the boot that held them was fenced or superseded, by reason",
            self.freed.clone(),
        );
    }
}
