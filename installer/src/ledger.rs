//! Whether the plugin's ledger still holds anything, so that it may neither be taken away nor be left behind.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Why a ledger has to stay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// Pods still use what the plugin made, or it is at work.
    #[error("{count} attachments are still in {}", folder.display())]
    InUse {
        /// How many entries, tombstones or locks.
        count: usize,
        /// Which of the ledger's folders.
        folder: PathBuf,
    },
    /// A folder can't be looked into.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// Which folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Entries, tombstones and what was put aside all still owe something: links on the host, or a release to the resolver. A
/// call at work shows by its lock: an ADD that has written nothing yet, a reap.
pub(crate) fn ensure_unused(state_dir: &Path) -> Result<(), LedgerError> {
    for name in ["attachments", "releasing", "corrupt", "locks"] {
        let folder = state_dir.join(name);
        let count = match fs::read_dir(&folder) {
            Ok(entries) if name == "locks" => entries.flatten().filter(|lock| is_held(&lock.path())).count(),
            Ok(entries) => entries.count(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(LedgerError::Read { path: folder, source }),
        };
        if count > 0 {
            return Err(LedgerError::InUse { count, folder });
        }
    }
    Ok(())
}

/// Whether somebody holds a lock. One that is gone is nobody's; a file that a kill left, too.
fn is_held(lock: &Path) -> bool {
    File::open(lock).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
