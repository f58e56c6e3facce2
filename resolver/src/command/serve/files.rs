//! How many files this process may have open. Connections are files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As many as the machine lets it have. Runtimes hand on a soft limit of 1,024 for the sake of programs that use `select(2)`.
pub(super) fn allow_all() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "can't raise the limit of open files: fewer can be connected at once");
    }
}
