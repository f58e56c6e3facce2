//! How long tokens and keys live, and when the Secret is looked at.

use std::time::Duration;

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
    /// What production runs on.
    #[cfg(not(feature = "fault-points"))]
    pub(super) fn of_this_build() -> Self {
        Self::default()
    }

    /// A test may see months pass: `KNAP_NODE_TOKEN_SECONDS=token,key,overlap`.
    #[cfg(feature = "fault-points")]
    pub(super) fn of_this_build() -> Self {
        let given = std::env::var("KNAP_NODE_TOKEN_SECONDS").unwrap_or_default();
        let seconds: Vec<Duration> = given.split(',').flat_map(str::parse).map(Duration::from_secs).collect();
        let [token, key, overlap] = seconds[..] else { return Self::default() };
        Self { token, key, overlap, look: Duration::from_millis(200) }
    }
}
