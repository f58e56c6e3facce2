//! How long certificates live, and when they are looked at.

use std::time::Duration;

use crate::quickened::quickened;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long certificates live. Each is replaced when a third of its time is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// An authority.
    pub(super) authority: Duration,
    /// A serving certificate.
    pub(super) serving: Duration,
    /// How long a new authority is published before it signs. Far less than a third of an authority's time.
    pub(super) overlap: Duration,
    /// Between looks at the Secret.
    pub(super) look: Duration,
    /// How much earlier than now a certificate begins, for clocks that are slow.
    pub(super) backdated: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            authority: 730 * DAY,
            serving: 90 * DAY,
            overlap: 7 * DAY,
            look: Duration::from_secs(60),
            backdated: HOUR,
        }
    }
}

impl Terms {
    /// What this program runs on: a test may see years pass, by `KNAP_CERTIFICATE_SECONDS=authority,serving,overlap`.
    pub(super) fn of_this_build() -> Self {
        match quickened("KNAP_CERTIFICATE_SECONDS") {
            Some([authority, serving, overlap]) => {
                Self { authority, serving, overlap, look: Duration::from_millis(200), backdated: HOUR }
            }
            None => Self::default(),
        }
    }
}
