//! Which entries a pod has: an empty file per entry, in a folder per pod.
//!
//! An index, not a truth. A mark is made after its entry and dropped before it, so that whatever moment a call dies
//! at, there is at most an entry without its mark, which costs the pod's next ADD nothing but an early reap.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{LedgerError, file, file_name, make_folder};

/// Marks the entry as the pod's.
pub(super) fn add(pods: &Path, uid: &str, stem: &str) -> Result<(), LedgerError> {
    let folder = folder(pods, uid);
    let mark = folder.join(stem);
    loop {
        make_folder(&folder)?;
        match File::create(&mark) {
            Ok(_) => return Ok(()),
            // Another entry of the pod was the last to go, and took the folder with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LedgerError::io("write", &mark)(error)),
        }
    }
}

/// Drops the mark, and the folder with the last one.
pub(super) fn remove(pods: &Path, uid: &str, stem: &str) -> Result<(), LedgerError> {
    remove_mark(&folder(pods, uid), stem)
}

/// The same, for who knows the folder but not the UID.
pub(super) fn remove_mark(folder: &Path, stem: &str) -> Result<(), LedgerError> {
    file::remove(&folder.join(stem))?;
    file::remove_empty_folder(folder).map_err(LedgerError::io("remove", folder))?;
    Ok(())
}

/// Stems of the pod's entries.
pub(super) fn stems(pods: &Path, uid: &str) -> Result<Vec<String>, LedgerError> {
    file::names(&folder(pods, uid))
}

fn folder(pods: &Path, uid: &str) -> PathBuf {
    pods.join(file_name::of_text(uid))
}
