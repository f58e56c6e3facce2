//! Which entries a pod has: an empty file `<pod UID>@<stem>` per entry, so that an ADD finds its pod's earlier
//! sandboxes without reading every entry of the node.
//!
//! An index, not a truth. A mark is made after its entry and dropped before it, so that whatever moment a call dies
//! at, there is at most an entry without its mark, which costs the pod's next ADD nothing but an early reap.
//!
//! The marks are spread over folders that stay: making and removing a folder costs several times what a file does, and
//! listing one folder of all marks would cost more with every pod of the node.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{LedgerError, file, file_name, make_folder};

/// Marks the entry as the pod's.
pub(super) fn add(pods: &Path, uid: &str, stem: &str) -> Result<(), LedgerError> {
    let mark = mark(pods, uid, stem);
    let create = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&mark);
    let made = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(&bucket(pods, uid))?;
            create()
        }
        made => made,
    };
    made.map(drop).map_err(LedgerError::io("write", &mark))
}

/// Drops the mark; fine if there is none.
pub(super) fn remove(pods: &Path, uid: &str, stem: &str) -> Result<(), LedgerError> {
    file::remove(&mark(pods, uid, stem))
}

/// Stems of the pod's entries.
pub(super) fn stems(pods: &Path, uid: &str) -> Result<Vec<String>, LedgerError> {
    let (uid_name, marks) = (file_name::of_text(uid), file::names(&bucket(pods, uid))?);
    let of_pod = |mark: &String| Some(mark.strip_prefix(&uid_name)?.strip_prefix('@')?.to_owned());
    Ok(marks.iter().filter_map(of_pod).collect())
}

/// The stem of the entry that a mark belongs to.
pub(super) fn stem_of(mark: &str) -> Option<&str> {
    mark.split_once('@').map(|(_, stem)| stem)
}

fn mark(pods: &Path, uid: &str, stem: &str) -> PathBuf {
    bucket(pods, uid).join(format!("{}@{stem}", file_name::of_text(uid)))
}

fn bucket(pods: &Path, uid: &str) -> PathBuf {
    let [.., last] = file_name::fnv1a(uid.as_bytes()).to_be_bytes();
    pods.join(format!("{last:02x}"))
}
