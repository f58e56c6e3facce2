//! Points at which a test can make the plugin die, as if by the kernel's out-of-memory killer.
//!
//! Only in builds with the feature `fault-points`: in all others [`point`] is nothing. A test that runs the
//! plugin once per name in [`POINTS`] proves that whatever moment it dies at, a later DEL, ADD or reap removes
//! everything it made.

/// Names of all fault points, in about the order in which an ADD and then a DEL pass them.
/// The test below keeps the list equal to what the sources name.
pub const POINTS: &[&str] = &[
    "ledger.temp-written",
    "ledger.renamed",
    "ledger.indexed",
    "add.intent-written",
    "add.answered",
    "add.recorded",
    "host-link.user-recorded",
    "host-link.created",
    "host-link.marked",
    "add.links-made",
    "add.delegate-ran",
    "add.attached",
    "teardown.delegate-undone",
    "teardown.delegates-undone",
    "host-link.user-dropped",
    "host-link.removed",
    "teardown.links-released",
    "ledger.unindexed",
    "ledger.tombstone-moved",
    "ledger.removed",
    "release.confirmed",
];

/// Dies here by SIGKILL when the environment's `KNAP_FAULT_POINT` is `name`, or `name:n` and this is the n-th pass.
#[cfg(feature = "fault-points")]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    static PASSES: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var("KNAP_FAULT_POINT") else { return };
    let (wanted, turn) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if wanted == name && turn.parse() == Ok(PASSES.fetch_add(1, Ordering::SeqCst) + 1) {
        // SIGKILL leaves no chance to clean up, which is the point; kill of oneself can't fail.
        let _ = kill(Pid::this(), Signal::SIGKILL);
    }
}

/// Nothing, in builds without fault points.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_name: &str) {}

#[cfg(test)]
#[cfg(feature = "fault-points")]
mod kill;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn named_in(folder: &Path, names: &mut BTreeSet<String>) {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                named_in(&path, names);
            } else if !path.ends_with("fault.rs") {
                let text = fs::read_to_string(&path).unwrap();
                for rest in text.split("fault::point(\"").skip(1) {
                    names.insert(rest.split('"').next().unwrap().to_owned());
                }
            }
        }
    }

    #[test]
    fn the_list_is_what_the_sources_name() {
        let mut named = BTreeSet::new();
        named_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut named);
        let listed: BTreeSet<String> = POINTS.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(named, listed, "left: named by fault::point in src/; right: listed in fault::POINTS");
    }
}
