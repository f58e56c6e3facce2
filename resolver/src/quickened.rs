//! Lifetimes of months in seconds, so that a test sees them pass. What ships does not listen.

use std::time::Duration;

/// As many durations as wanted, if this variable has them: `730,90,7`, in seconds.
#[cfg(feature = "fault-points")]
pub(crate) fn quickened<const COUNT: usize>(variable: &str) -> Option<[Duration; COUNT]> {
    let given = std::env::var(variable).ok()?;
    let seconds = given.split(',').map(|given| given.parse().map(Duration::from_secs));
    seconds.collect::<Result<Vec<_>, _>>().ok()?.try_into().ok()
}

/// None.
#[cfg(not(feature = "fault-points"))]
pub(crate) const fn quickened<const COUNT: usize>(_: &str) -> Option<[Duration; COUNT]> {
    None
}
