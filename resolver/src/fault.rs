//! Points at which a test can make the process die, to show that whatever it leaves behind is found again.
//!
//! They exist in builds with the feature `fault-points` only; in all others a point is nothing.

/// Every point, in the order in which they are passed.
#[cfg(feature = "fault-points")]
pub const POINTS: &[&str] = &[
    "provision-reserved",
    "provision-verified",
    "network-retired",
    "node-fenced",
    "attach-received",
    "attach-created",
    "attach-checked",
    "release-received",
    "release-deleted",
];

/// Dies here, as by SIGKILL in that nothing is flushed or unwound, if `KNAP_FAULT_POINT` names this point.
#[cfg(feature = "fault-points")]
pub(crate) fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "{name} is not listed");
    if std::env::var_os("KNAP_FAULT_POINT").is_some_and(|wanted| wanted == *name) {
        std::process::abort();
    }
}

/// Nothing: this build has no fault points.
#[cfg(not(feature = "fault-points"))]
pub(crate) fn point(_name: &str) {}
