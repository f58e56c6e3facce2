//! Points at which a test can make the installer or the agent die, as if by the kernel's out-of-memory killer.
//!
//! Only in builds with the feature `fault-points`: in all others a point is nothing.

/// Dies here by SIGKILL when the environment's `KNAP_FAULT_POINT` is `name:n` and this is the n-th pass.
#[cfg(feature = "fault-points")]
pub(crate) fn point(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    static PASSES: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var("KNAP_FAULT_POINT") else { return };
    let Some((wanted, turn)) = wanted.split_once(':') else { return };
    if wanted == name && turn.parse() == Ok(PASSES.fetch_add(1, Ordering::SeqCst) + 1) {
        // SIGKILL leaves no chance to clean up, which is the point; kill of oneself can't fail.
        let _ = kill(Pid::this(), Signal::SIGKILL);
    }
}

/// Nothing, in builds without fault points.
#[cfg(not(feature = "fault-points"))]
pub(crate) fn point(_name: &str) {}
