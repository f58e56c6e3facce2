//! Many durations in a few numbers.

use std::time::Duration;

use serde::Serialize;

/// Milliseconds of one operation, over many runs.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) p95: f64,
}

impl Spread {
    /// Zero where there was no run.
    pub(crate) fn of(mut runs: Vec<Duration>) -> Self {
        runs.sort_unstable();
        let at = |percent: usize| {
            let position = runs.len().saturating_sub(1) * percent / 100;
            runs.get(position).copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        Self { median: at(50), p95: at(95) }
    }
}
