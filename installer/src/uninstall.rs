//! Taking everything away, but never from under a running attachment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::HostPaths;
use crate::plugin_binary::BinaryError;
use crate::replace::sweep;

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

/// Removes the binary, the version before, the files of the agent, the node file and the ledger; returns what was there.
pub(crate) fn remove_all(paths: &HostPaths, force: bool) -> Result<Vec<PathBuf>, UninstallError> {
    let binary = paths.plugin();
    binary.installed(&[])?;
    let state_dir = paths.here(&paths.state_dir);
    if !force {
        ensure_unused(&state_dir)?;
    }
    binary.sweep();
    let mut all = paths.kept_files().map(|file| paths.here(&file)).to_vec();
    all.iter().for_each(|file| sweep(file));
    // The binary goes last: as long as it is there, runtimes can still DEL.
    all.extend([state_dir.clone(), binary.previous(), binary.path()]);
    let mut removed = Vec::new();
    let mut failures = Vec::new();
    for path in all {
        match remove(&path, path == state_dir) {
            Ok(true) => removed.push(path),
            Ok(false) => {}
            Err(error) => failures.push(format!("{}: {error}", path.display())),
        }
    }
    if failures.is_empty() { Ok(removed) } else { Err(UninstallError::Remove(failures)) }
}

/// Removes the configuration folder, which also holds the lock. One that holds somebody's other files stays.
pub(crate) fn remove_config_dir(paths: &HostPaths) -> Result<bool, UninstallError> {
    let folder = paths.here(&paths.config_dir);
    remove(&folder, false)
        .map_err(|error| UninstallError::Remove(vec![format!("{}: {error}", folder.display())]))
}

/// Entries, tombstones and what was put aside all still owe something: links on the host, or a release to the resolver.
fn ensure_unused(state_dir: &Path) -> Result<(), UninstallError> {
    for name in ["attachments", "releasing", "corrupt"] {
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

/// Removes a file or an empty folder (`whole`: a folder with all in it); false if it was not there, or has to stay:
/// it holds somebody's files, or is where a volume is mounted.
fn remove(path: &Path, whole: bool) -> io::Result<bool> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(false) };
    let outcome = match (found.is_dir(), whole) {
        (true, true) => fs::remove_dir_all(path),
        (true, false) => fs::remove_dir(path),
        (false, _) => fs::remove_file(path),
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
