//! What nodes ask, how long the answer takes, and what it is.

use std::time::Duration;

use knap_protocol::{ProblemKind, ReconcileReply};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// PUT of an attachment.
    Attach,
    /// DELETE of an attachment.
    Release,
    /// POST of a ledger.
    Reconcile,
    /// PUT of an inventory.
    Inventory,
    /// POST for a node's token.
    Credentials,
}

impl Call {
    const fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Release => "release",
            Self::Reconcile => "reconcile",
            Self::Inventory => "inventory",
            Self::Credentials => "credentials",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    call: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finding {
    finding: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Requests of nodes.
#[derive(Debug, Clone)]
pub struct Requests {
    durations: Family<Answered, Histogram>,
    findings: Family<Finding, Counter>,
    denials: Family<Reason, Counter>,
}

impl Default for Requests {
    fn default() -> Self {
        // 1 ms to 16 s: from an attach on an idle machine to the longest that a plugin waits.
        let durations = Family::new_with_constructor(
            (|| Histogram::new(exponential_buckets(0.001, 2.0, 15))) as fn() -> _,
        );
        Self { durations, findings: Family::default(), denials: Family::default() }
    }
}

impl Requests {
    /// One request has its answer: success, or a problem.
    pub fn answered(&self, call: Call, problem: Option<ProblemKind>, took: Duration) {
        let outcome = problem.map_or("ok", ProblemKind::name);
        self.durations.get_or_create(&Answered { call: call.name(), outcome }).observe(took.as_secs_f64());
    }

    /// Somebody may not ask what was asked.
    pub fn denied(&self, reason: &'static str) {
        self.denials.get_or_create(&Reason { reason }).inc();
    }

    /// What comparing a ledger with the leases has found.
    pub fn reconciled(&self, reply: &ReconcileReply) {
        for (finding, count) in [
            ("suspect", reply.suspects.len()),
            ("tear_down", reply.tear_down.len()),
            ("reassert", reply.reassert.len()),
        ] {
            self.findings.get_or_create(&Finding { finding }).inc_by(count as u64);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "request_duration",
            "How long requests of nodes took, by call and outcome (ok, or the kind of problem)",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "reconcile_findings",
            "What reconciling ledgers found: suspect leases, entries to tear down, entries to assert again",
            self.findings.clone(),
        );
        registry.register(
            "denied_requests",
            "Requests that were not served because of who sent them, or for which pod, by reason",
            self.denials.clone(),
        );
    }
}
