//! The plugin's node file: written if it is not what it should be, and taken away where no call may begin any more.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use knap_protocol::NodeFile;

use crate::cli::HostPaths;
use crate::ledger::{self, LedgerError};
use crate::replace::{Outcome, ReplaceError, keep, rename_synced};

/// From reading the node file, a call of the plugin comes to its lock in far less.
const GRACE: Duration = Duration::from_secs(1);

/// Why the node file is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeFileError {
    /// It can't be put into words.
    #[error("can't encode the node file")]
    Encode(#[from] serde_json::Error),
    /// It could not be put in place.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// It still names another ledger than it should, for what is in that one would be forgotten.
    #[error(
        "the ledger stays in {}, not in {}: {source}; drain this node, and it changes, or go back to --state-dir={}",
        stays.display(), wanted.display(), stays.display()
    )]
    LedgerElsewhere {
        /// Where it is.
        stays: PathBuf,
        /// Where it should be.
        wanted: PathBuf,
        /// Why it can't be left.
        source: LedgerError,
    },
}

/// Why the node file stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WithdrawError {
    /// Somebody needs it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It can't be moved.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

/// Makes the file say `wanted`; but for the ledger's folder, as long as there is anything in the one that it says now.
pub(crate) fn ensure(
    paths: &HostPaths,
    wanted: &NodeFile,
    pause: &dyn Fn(),
) -> Result<Outcome, NodeFileError> {
    put_back(paths)?;
    let moved = match state_dir(paths).filter(|now| !is_same_folder(paths, now, &wanted.state_dir)) {
        None => Ok(()),
        Some(stays) => match withdraw(paths, std::slice::from_ref(&stays), pause) {
            Ok(()) => Ok(()),
            Err(WithdrawError::Replace(error)) => return Err(error.into()),
            Err(WithdrawError::Ledger(source)) => Err((stays, source)),
        },
    };
    match moved {
        Ok(()) => write(paths, wanted),
        Err((stays, source)) => {
            write(paths, &NodeFile { state_dir: stays.clone(), ..wanted.clone() })?;
            Err(NodeFileError::LedgerElsewhere { stays, wanted: wanted.state_dir.clone(), source })
        }
    }
}

/// The ledger's folder, a path of the host, as the file says it now.
pub(crate) fn state_dir(paths: &HostPaths) -> Option<PathBuf> {
    let text = fs::read(paths.here(&paths.node_file())).ok()?;
    Some(serde_json::from_slice::<NodeFile>(&text).ok()?.state_dir)
}

/// Takes the file aside, so that no call of the plugin begins, if these ledgers are unused before and after that; else it is
/// where it was.
pub(crate) fn withdraw(
    paths: &HostPaths,
    ledgers: &[PathBuf],
    pause: &dyn Fn(),
) -> Result<(), WithdrawError> {
    let look = || ledgers.iter().try_for_each(|ledger| ledger::ensure_unused(&paths.root().folder(ledger)));
    look()?;
    let path = paths.here(&paths.node_file());
    if !path.exists() {
        return Ok(());
    }
    rename_synced(&path, &paths.here(&paths.withdrawn_node_file()))?;
    pause();
    if let Err(error) = look() {
        put_back(paths)?;
        return Err(error.into());
    }
    Ok(())
}

/// Lets calls that have read the file come to where they are seen.
pub(crate) fn grace() {
    thread::sleep(GRACE);
}

/// Undoes [`withdraw`], also that of a process which has died since.
pub(crate) fn put_back(paths: &HostPaths) -> Result<(), ReplaceError> {
    let (path, aside) = (paths.here(&paths.node_file()), paths.here(&paths.withdrawn_node_file()));
    if aside.exists() && !path.exists() { rename_synced(&aside, &path) } else { Ok(()) }
}

fn write(paths: &HostPaths, wanted: &NodeFile) -> Result<Outcome, NodeFileError> {
    let mut content = serde_json::to_vec_pretty(wanted)?;
    content.push(b'\n');
    let outcome = keep(&paths.here(&paths.node_file()), &content, 0o600)?;
    // Best effort: beside the file it says nothing.
    let _ = fs::remove_file(paths.here(&paths.withdrawn_node_file()));
    Ok(outcome)
}

/// Whether two paths of the host lead to one folder.
fn is_same_folder(paths: &HostPaths, one: &Path, other: &Path) -> bool {
    let inode = |path: &Path| -> io::Result<(u64, u64)> {
        let found = fs::metadata(paths.root().folder(path))?;
        Ok((found.dev(), found.ino()))
    };
    one == other || matches!((inode(one), inode(other)), (Ok(one), Ok(other)) if one == other)
}
