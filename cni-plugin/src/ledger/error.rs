//! What can go wrong with the ledger, in words for whoever has to repair it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use knap_protocol::AttachmentKey;

/// The ledger can't do what was asked. CNI code 5, where it ends a call.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No room, or no quota, is left.
    #[error(
        "can't {action} {}: {source}; free space or inodes on the file system of the state folder, then try again",
        path.display()
    )]
    Full {
        /// What was being done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The file system refuses.
    #[error("can't {action} {}: {source}; the state folder must be writable by root", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel gives no name that nobody else has.
    #[error("can't make a name of {}: {source}; mount /proc", path.display())]
    Random {
        /// Where it gives them.
        path: &'static Path,
        /// Why not.
        source: io::Error,
    },
    /// Another call holds the attachment's lock, or a delegate of one that was killed.
    #[error(
        "attachment {}/{} is busy: another knap process, or a delegate that one has left running, has held {} for {} s; \
         try again when it has ended (`fuser -v {}` names it)",
        key.container_id, key.ifname, path.display(), waited.as_secs(), path.display()
    )]
    Busy {
        /// Which attachment.
        key: AttachmentKey,
        /// Its lock file.
        path: PathBuf,
        /// How long this call waited.
        waited: Duration,
    },
    /// The entry was unreadable and has been put aside; from now on the attachment has none.
    #[error("the ledger entry {} is corrupt ({reason}) and was moved to {}", path.display(), moved_to.display())]
    Corrupt {
        /// Where it was.
        path: PathBuf,
        /// Where it is.
        moved_to: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry read without its lock is unreadable; it stays where it is.
    #[error("the ledger entry {} is corrupt: {reason}; `knap reap` will put it aside", path.display())]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry has no JSON form: its namespace's path is not text.
    #[error("can't encode the ledger entry {}: {source}", path.display())]
    Encode {
        /// The file it was for.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

impl LedgerError {
    /// For `map_err`: tells a full disk from any other failure.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { action, path, source },
            _ => Self::Io { action, path, source },
        }
    }
}
