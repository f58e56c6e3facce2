//! What the API server asks before it takes an object, how long the answer takes, and what it is.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// What came of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reviewed {
    /// The object may be, perhaps changed or with a warning.
    Allowed,
    /// It may not, for this class of reasons.
    Denied(&'static str),
    /// What was sent is no review.
    Malformed,
    /// What it takes to answer could not be read.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    webhook: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Denied {
    webhook: &'static str,
    reason: &'static str,
}

/// Reviews of the API server.
#[derive(Debug, Clone)]
pub struct Reviews {
    durations: Family<Answered, Histogram>,
    denials: Family<Denied, Counter>,
}

impl Default for Reviews {
    fn default() -> Self {
        // 0.25 ms, a pod that needs no look at the store, to 8 s: the API server waits for one to five.
        let durations = Family::new_with_constructor(
            (|| Histogram::new(exponential_buckets(0.000_25, 2.0, 16))) as fn() -> _,
        );
        Self { durations, denials: Family::default() }
    }
}

impl Reviews {
    /// One review has its answer. The webhook is named by the last part of its path.
    pub fn answered(&self, webhook: &'static str, reviewed: Reviewed, took: Duration) {
        let outcome = match reviewed {
            Reviewed::Allowed => "allowed",
            Reviewed::Denied(_) => "denied",
            Reviewed::Malformed => "malformed",
            Reviewed::Failed => "failed",
        };
        self.durations.get_or_create(&Answered { webhook, outcome }).observe(took.as_secs_f64());
        if let Reviewed::Denied(reason) = reviewed {
            self.denials.get_or_create(&Denied { webhook, reason }).inc();
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "admission_duration",
            "How long admission reviews took, by webhook and outcome (allowed, denied, malformed, failed)",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "admission_denials",
            "Objects that were not admitted, by webhook and reason",
            self.denials.clone(),
        );
    }
}
