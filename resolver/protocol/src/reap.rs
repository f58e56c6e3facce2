//! What `knap reap` prints: one line of JSON, from the plugin to the agent of its node.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a reap did, and what it could not do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReapSummary {
    /// Entries looked at.
    pub entries: usize,
    /// Of those, the ones whose sandbox lives.
    pub alive: usize,
    /// Of those, the ones of which nothing is certain; left alone.
    pub unknown: usize,
    /// Of those, the ones that another call holds; left to it.
    pub busy: usize,
    /// Entries undone.
    pub torn_down: usize,
    /// Releases that the resolver has confirmed.
    pub released: usize,
    /// Releases that wait.
    pub tombstones: usize,
    /// Corrupt files settled.
    pub salvaged: usize,
    /// Corrupt files whose attachment may still live.
    pub corrupt: usize,
    /// Where they are.
    pub corrupt_files: Vec<PathBuf>,
    /// Leases without an attachment that were given back.
    pub suspects_released: usize,
    /// Attachments asserted again.
    pub reasserted: usize,
    /// What failed.
    pub failures: Vec<String>,
}

impl ReapSummary {
    /// Whether nothing remains that should not.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.tombstones == 0
    }

    /// Whether anything is not as it was.
    pub fn has_changed_something(&self) -> bool {
        self.torn_down + self.released + self.salvaged + self.suspects_released + self.reasserted > 0
    }
}
