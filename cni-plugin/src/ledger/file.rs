//! Files that are either the old or the new one, whenever the writer dies.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::LedgerError;
use crate::fault;

/// More than entries have. Bytes.
const LARGE_ENTRY: usize = 16 * 1024;
/// No attachment's, as it has no `@`.
const PROBE: &str = "probe.json";

/// What a write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process. A power cut may undo the write: enough for what the next boot does away with
    /// anyway.
    Cached,
    /// A power cut too: file and folder are synced before the write returns.
    Synced,
}

/// Writes `folder/name` anew. On failure the old file stands, and nothing is left behind.
///
/// The temporary file's name follows from the final one: only the holder of its lock writes it, and what a killed
/// writer left is simply written over.
pub(super) fn replace(
    folder: &Path,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), LedgerError> {
    let path = folder.join(name);
    let temp = temp_of(folder, name);
    let written = write_temp(&temp, bytes, durability)
        .inspect(|()| fault::point("ledger.temp-written"))
        .and_then(|()| fs::rename(&temp, &path));
    if let Err(source) = written {
        // Its failure adds nothing to what is already wrong, and the next writer or reap removes it.
        let _ = fs::remove_file(&temp);
        return Err(LedgerError::io("write", &path)(source));
    }
    fault::point("ledger.renamed");
    if durability == Durability::Synced {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Whether an entry could be written into the folder now: writes as much as a large one has, and removes it.
pub(super) fn probe(folder: &Path) -> Result<(), LedgerError> {
    // As a temporary file of an entry, which a sweep knows.
    let temp = temp_of(folder, PROBE);
    let written = write_temp(&temp, &[b' '; LARGE_ENTRY], Durability::Cached);
    let removed = remove(&temp);
    written.map_err(LedgerError::io("write", &temp)).and(removed)
}

/// Makes what was created in, renamed into and removed from the folder survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> Result<(), LedgerError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(LedgerError::io("sync", folder))
}

/// Removes a file; one that is not there is as good as removed.
pub(crate) fn remove(path: &Path) -> Result<(), LedgerError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LedgerError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder if it is there and empty; says whether it is gone now.
pub(crate) fn remove_empty_folder(path: &Path) -> io::Result<bool> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) => Err(error),
    }
}

/// Names of the files in a folder that are text and not temporary; none where there is no folder.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, LedgerError> {
    Ok(all_names(folder)?.into_iter().filter(|name| !name.starts_with('.')).collect())
}

/// Names of the temporary files in a folder.
pub(super) fn temp_names(folder: &Path) -> Result<Vec<String>, LedgerError> {
    Ok(all_names(folder)?.into_iter().filter(|name| name.starts_with('.')).collect())
}

/// The final name that a temporary file was to get.
pub(super) fn name_of_temp(temp: &str) -> Option<&str> {
    temp.strip_prefix('.')?.strip_suffix(".tmp")
}

pub(super) fn temp_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.tmp"))
}

fn all_names(folder: &Path) -> Result<Vec<String>, LedgerError> {
    let listed = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for file in fs::read_dir(folder)? {
            names.extend(file?.file_name().into_string().ok());
        }
        Ok(names)
    };
    match listed() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(LedgerError::io("list", folder)),
    }
}

fn write_temp(temp: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temp)?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    Ok(())
}
