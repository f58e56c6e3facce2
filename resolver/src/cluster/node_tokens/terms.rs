//! How long tokens and keys live, and when the Secret is looked at.

use std::time::Duration;

use crate::quickened::quickened;

const HOUR: Duration = Duration::from_secs(3600);

/// How long tokens and keys live.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// A token.
    pub(super) token: Duration,
    /// How old a key becomes before the next is made.
    pub(super) key: Duration,
    /// How long a new key is in the Secret before it signs, and how much longer than its tokens an old one stays. More
    /// than `look`, and than clocks of replicas differ.
    pub(super) overlap: Duration,
    /// Between looks at the Secret.
    pub(super) look: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { token: 24 * HOUR, key: 30 * 24 * HOUR, overlap: HOUR, look: Duration::from_secs(10) }
    }
}

impl Terms {
    /// What this program runs on: a test may see months pass, by `KNAP_NODE_TOKEN_SECONDS=token,key,overlap`.
    pub(super) fn of_this_build() -> Self {
        match quickened("KNAP_NODE_TOKEN_SECONDS") {
            Some([token, key, overlap]) => Self { token, key, overlap, look: Duration::from_millis(200) },
            None => Self::default(),
        }
    }
}
