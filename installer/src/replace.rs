//! Files kept as they should be, and replaced whole: readers see the old or the new one, also after a power cut.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::fault;

/// A file could not be replaced; the one that was there is untouched.
#[derive(Debug, thiserror::Error)]
#[error("can't {action} {}: {source}; check that the folder is writable and has space", path.display())]
pub(crate) struct ReplaceError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was missing or different.
    Written,
    /// It was right.
    Unchanged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Written => "written",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Makes the file at `path` hold `content` with this mode, and its folder where that is missing.
pub(crate) fn keep(path: &Path, content: &[u8], mode: u32) -> Result<Outcome, ReplaceError> {
    if fs::read(path).is_ok_and(|present| present == content) && has_mode(path, mode) {
        return Ok(Outcome::Unchanged);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
    }
    replace(path, content, mode, |_| Ok::<(), ReplaceError>(()))?;
    Ok(Outcome::Written)
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
    fs::rename(from, to).map_err(failed("rename a file to", to))?;
    fault::point("replace.renamed");
    let folder = to.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync the folder", folder))
}

/// Removes what a process that died in the middle of replacing `path` left beside it.
pub(crate) fn sweep(path: &Path) {
    let Some(folder) = path.parent() else { return };
    let prefix = format!(".{}.", name_of(path));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if process.is_some_and(|process| process.parse::<u32>().is_ok()) {
            // Best effort: it is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Gives a file these permissions, where it is there and has others.
pub(crate) fn keep_mode(path: &Path, mode: u32) -> Result<(), ReplaceError> {
    if has_mode(path, mode) || !path.exists() { Ok(()) } else { set_mode(path, mode) }
}

/// Whether a file has just these permissions.
fn has_mode(path: &Path, mode: u32) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o7777 == mode)
}

/// Gives a file these permissions.
fn set_mode(path: &Path, mode: u32) -> Result<(), ReplaceError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("change the mode of", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReplaceError {
    let path = path.to_owned();
    move |source| ReplaceError { action, path, source }
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> Result<(), ReplaceError> {
    let write = || {
        // One of this name is of a process that died: in a container, all have the same few numbers.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        // Whatever the process's umask says.
        file.set_permissions(Permissions::from_mode(mode))?;
        // In two halves, for a test that ends it in between.
        let (first, rest) = content.split_at(content.len() / 2);
        file.write_all(first)?;
        fault::point("replace.half-written");
        file.write_all(rest)?;
        file.sync_all()?;
        fault::point("replace.written");
        Ok(())
    };
    write().map_err(failed("write", path))
}

/// A hidden name that no other process uses, and that a runtime searching the folder never takes for a plugin.
fn staged_beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.{}", name_of(path), std::process::id()))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_with_its_content_and_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf/token");
        assert_eq!(keep(&path, b"secret", 0o600).unwrap(), Outcome::Written);
        assert_eq!(keep(&path, b"secret", 0o600).unwrap(), Outcome::Unchanged);
        set_mode(&path, 0o644).unwrap();
        assert_eq!(keep(&path, b"secret", 0o600).unwrap(), Outcome::Written);
        assert!(has_mode(&path, 0o600));
    }

    #[test]
    fn what_died_in_the_middle_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("knap");
        let (dead, of_us, other) =
            (folder.path().join(".knap.1"), staged_beside(&path), folder.path().join(".knap.previous"));
        for left in [&dead, &of_us, &other] {
            fs::write(left, "half").unwrap();
        }
        keep(&path, b"whole", 0o755).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert!(!of_us.exists());
        sweep(&path);
        assert!(!dead.exists() && other.exists() && path.exists());
    }
}
