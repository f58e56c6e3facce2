//! Names for decisions: one per request, the same in the log, in the pod's Event and in the CNI error.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// One decision's name, `5f3a9c1e-2b`: a random part per process, and a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionId(String);

impl DecisionId {
    /// A name that this process has not used, and that no other is likely to.
    pub fn next() -> Self {
        static PROCESS: OnceLock<u32> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(1);
        // `RandomState` is seeded by the operating system: good enough for a name, with no dependency.
        let process = PROCESS.get_or_init(|| (RandomState::new().build_hasher().finish() >> 32) as u32);
        Self(format!("{process:08x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
