//! Replacing a file whole: readers see the old or the new one, also after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file could not be replaced; the one that was there is untouched.
#[derive(Debug, thiserror::Error)]
#[error("can't {action} {}: {source}; check that the folder is writable and has space", path.display())]
pub(crate) struct ReplaceError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Writes `content` beside `path`, lets `check` look at the new file, and renames it into place. A running program
/// keeps the old inode, so replacing a binary never meets "text file busy".
pub(crate) fn replace<E: From<ReplaceError>>(
    path: &Path,
    content: &[u8],
    mode: u32,
    check: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let staged = staged_beside(path);
    let outcome = write_synced(&staged, content, mode)
        .map_err(E::from)
        .and_then(|()| check(&staged))
        .and_then(|()| rename_synced(&staged, path).map_err(E::from));
    if outcome.is_err() {
        // Best effort: the error that led here is the one to report.
        let _ = fs::remove_file(&staged);
    }
    outcome
}

/// Moves a file in its folder, durably.
pub(crate) fn rename_synced(from: &Path, to: &Path) -> Result<(), ReplaceError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ReplaceError { action, path, source }
    };
    fs::rename(from, to).map_err(failed("rename a file to", to))?;
    let folder = to.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync the folder", folder))
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> Result<(), ReplaceError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|source| ReplaceError { action: "write", path: path.to_owned(), source })
}

/// A hidden name that no other process uses, and that a runtime searching the folder never takes for a plugin.
fn staged_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}
