//! Taking everything away, but never from under a running attachment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::HostPaths;
use crate::plugin_binary::{BinaryError, PluginBinary};

/// Why something stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UninstallError {
    /// Pods still use what the plugin made.
    #[error(
        "{count} attachments are still in {}: stop their pods or run `knap reap` first, or use --force and clean up by hand",
        folder.display()
    )]
    InUse {
        /// How many entries the ledger has.
        count: usize,
        /// The ledger's folder.
        folder: PathBuf,
    },
    /// The binary is somebody else's.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// A folder can't be looked into.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// Which folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Some things could not be removed; the others are gone.
    #[error("could not remove {}", .0.join("; "))]
    Remove(Vec<String>),
}

/// Removes the binary, the version before, the node file and the ledger; returns what was there.
pub(crate) fn remove_all(
    binary: &PluginBinary,
    paths: &HostPaths,
    force: bool,
) -> Result<Vec<PathBuf>, UninstallError> {
    binary.installed()?;
    if !force {
        ensure_unused(&paths.state_dir)?;
    }
    let mut removed = Vec::new();
    let mut failures = Vec::new();
    // The binary goes last: as long as it is there, runtimes can still DEL.
    let node_file = paths.node_file();
    let all: [&Path; 5] = [&node_file, &paths.config_dir, &paths.state_dir, binary.previous(), binary.path()];
    for path in all {
        match remove(path, path == paths.state_dir) {
            Ok(true) => removed.push(path.to_owned()),
            Ok(false) => {}
            Err(error) => failures.push(format!("{}: {error}", path.display())),
        }
    }
    if failures.is_empty() { Ok(removed) } else { Err(UninstallError::Remove(failures)) }
}

/// Entries and tombstones both still owe something: links on the host, or a release to the resolver.
fn ensure_unused(state_dir: &Path) -> Result<(), UninstallError> {
    for name in ["attachments", "releasing"] {
        let folder = state_dir.join(name);
        let count = match fs::read_dir(&folder) {
            Ok(entries) => entries.count(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(UninstallError::Read { path: folder, source }),
        };
        if count > 0 {
            return Err(UninstallError::InUse { count, folder });
        }
    }
    Ok(())
}

/// Removes a file or an empty folder (`whole`: a folder with all in it); false if it was not there. A configuration
/// folder that holds somebody's other files stays.
fn remove(path: &Path, whole: bool) -> io::Result<bool> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(false) };
    let outcome = match (found.is_dir(), whole) {
        (true, true) => fs::remove_dir_all(path),
        (true, false) => fs::remove_dir(path),
        (false, _) => fs::remove_file(path),
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) => Err(error),
    }
}
