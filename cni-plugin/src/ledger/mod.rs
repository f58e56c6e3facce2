//! The node's memory of its attachments: one file each, locked one by one.
//!
//! ```text
//! stateDir/attachments/<containerID>@<ifname>.json             entries
//! stateDir/releasing/<containerID>@<ifname>@<attempt>.json     tombstones: torn down, the resolver not yet told
//! stateDir/corrupt/                                            files that could not be read, put aside
//! stateDir/locks/                                              lock files, removed when unused
//! stateDir/pods/<2 digits>/<pod UID>@<containerID>@<ifname>    index: which entries a pod has
//! stateDir/links/                                              users of host links, see `host_link`
//! stateDir/boot                                                the boot that it was last written in
//! stateDir/id                                                  its own name, which ends those of its attempts
//! ```
//!
//! What must survive what: every call may die at any moment, so each change is one rename or one unlink, and the
//! order of changes leaves nothing that a later call can't finish. A power cut ends the boot, and with it every
//! sandbox; entries of another boot are torn down whatever they say. So one write per ADD has to be on the disk
//! before anything is made, the rest need not be.

mod attachment;
mod boot_mark;
mod corrupt;
mod entry;
mod error;
mod file;
mod file_name;
mod identity;
mod lock;
mod pods;
mod sweep;
#[cfg(test)]
mod tests;
mod tombstone;

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use knap_protocol::AttachmentKey;

pub use attachment::LockedAttachment;
pub use corrupt::{CorruptFile, Remains};
pub use entry::Entry;
pub use error::LedgerError;
pub use file::Durability;
pub use tombstone::Tombstone;

pub(crate) use file::{names, remove, remove_empty_folder};
pub(crate) use file_name::{escaped, fnv1a, stem, unescaped};
pub(crate) use lock::FileLock;

/// The ledger of one node, in one folder.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    attachments: PathBuf,
    releasing: PathBuf,
    corrupt: PathBuf,
    locks: PathBuf,
    pods: PathBuf,
}

impl Ledger {
    /// Opens the ledger in `state_dir`, making its folders (0700) where they are missing.
    pub fn open(state_dir: &Path) -> Result<Self, LedgerError> {
        // What is above the state folder is others' too, and gets the usual mode.
        if let Some(above) = state_dir.parent() {
            fs::create_dir_all(above).map_err(LedgerError::io("make the folder", above))?;
        }
        make_folder(state_dir)?;
        let folder = |name| {
            let path = state_dir.join(name);
            make_folder(&path)?;
            Ok(path)
        };
        Ok(Self {
            folder: state_dir.to_owned(),
            attachments: folder("attachments")?,
            releasing: folder("releasing")?,
            corrupt: folder("corrupt")?,
            locks: folder("locks")?,
            pods: folder("pods")?,
        })
    }

    /// Takes the attachment's lock, waiting until `deadline` at most and trying at least once. Every change of an
    /// entry happens under it. Delegates hold it too, and outlive a plugin that is killed: it is free once none of them is
    /// at work on the attachment any more.
    pub fn lock(&self, key: &AttachmentKey, deadline: Instant) -> Result<LockedAttachment<'_>, LedgerError> {
        let begun = Instant::now();
        let stem = file_name::stem(key);
        let path = self.lock_file(&stem);
        match FileLock::acquire_before(&path, deadline).map_err(LedgerError::io("lock", &path))? {
            Some(lock) => {
                lock.share_with_children().map_err(LedgerError::io("share the lock", &path))?;
                Ok(LockedAttachment::new(self, key.clone(), stem, lock))
            }
            None => Err(LedgerError::Busy { key: key.clone(), path, waited: begun.elapsed() }),
        }
    }

    /// Held by a reap, which may hold no other lock, for as long as it judges leases by this ledger: who would take the ledger
    /// away, or go over to another one, waits for it. None where another reap holds it.
    pub(crate) fn at_work(&self) -> Result<Option<FileLock>, LedgerError> {
        let path = self.lock_file("reap");
        FileLock::try_acquire(&path).map_err(LedgerError::io("lock", &path))
    }

    /// Whether an entry could be written now.
    pub fn probe(&self) -> Result<(), LedgerError> {
        file::probe(&self.attachments)
    }

    /// Keys of all entries. Costs one listing of a folder, however many entries there are.
    pub fn keys(&self) -> Result<Vec<AttachmentKey>, LedgerError> {
        let names = file::names(&self.attachments)?;
        Ok(names.iter().filter_map(|name| self.key_of(name.strip_suffix(file_name::SUFFIX)?)).collect())
    }

    /// The same, first those whose entries have been left alone the longest, as [`LockedAttachment::touch`] and every write
    /// tell.
    pub fn keys_by_age(&self) -> Result<Vec<AttachmentKey>, LedgerError> {
        let mut keys = self.keys()?;
        keys.sort_by_cached_key(|key| {
            fs::metadata(self.entry_file(&file_name::stem(key))).and_then(|file| file.modified()).ok()
        });
        Ok(keys)
    }

    /// Keys of the entries of one pod, found without reading the others.
    pub fn of_pod(&self, uid: &str) -> Result<Vec<AttachmentKey>, LedgerError> {
        let stems = pods::stems(&self.pods, uid)?;
        let known = stems.iter().filter(|stem| self.has_entry(stem));
        Ok(known.filter_map(|stem| self.key_of(stem)).collect())
    }

    /// Reads an entry without its lock: what it was at some moment, for lists and reports. Before acting on it,
    /// lock and read again.
    pub fn peek(&self, key: &AttachmentKey) -> Result<Option<Entry>, LedgerError> {
        let stem = file_name::stem(key);
        let path = self.entry_file(&stem);
        match read(&path)? {
            None => Ok(None),
            Some(bytes) => match decode(&bytes, &stem) {
                Ok(entry) => Ok(Some(entry)),
                Err(reason) => Err(LedgerError::Undecodable { path, reason }),
            },
        }
    }

    /// Everything that waits to be released, each read when it is asked for, and begun anywhere, so that the first are not
    /// always the same. One that can't be read is put aside and reported in its place.
    pub fn tombstones(
        &self,
    ) -> Result<impl Iterator<Item = Result<Tombstone, LedgerError>> + '_, LedgerError> {
        let mut names = file::names(&self.releasing)?;
        let anywhere = usize::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default();
        let start = anywhere.checked_rem(names.len()).unwrap_or_default();
        names.rotate_left(start);
        Ok(names.into_iter().filter_map(|name| self.tombstone(&name).transpose()))
    }

    /// How much waits to be released. Reads none of it.
    pub fn count_tombstones(&self) -> Result<usize, LedgerError> {
        Ok(file::names(&self.releasing)?.len())
    }

    /// The files that were put aside, with what can still be read from them.
    pub fn corrupt(&self) -> Result<Vec<CorruptFile>, LedgerError> {
        corrupt::list(&self.corrupt)
    }

    /// Whether an entry's file exists, for those who know only its stem.
    pub(crate) fn has_entry(&self, stem: &str) -> bool {
        // An error counts as existing: what hangs on the answer is a removal.
        !fs::exists(self.entry_file(stem)).is_ok_and(|exists| !exists)
    }

    /// Whether an entry of this stem was put aside, and is not settled.
    pub(crate) fn is_put_aside(&self, stem: &str) -> bool {
        let is_its = |name: &String| corrupt::name_aside(name).is_some_and(|(aside, _)| aside == stem);
        // An error counts as one for the same reason.
        file::names(&self.corrupt).map_or(true, |names| names.iter().any(is_its))
    }

    fn entry_file(&self, stem: &str) -> PathBuf {
        self.attachments.join(entry_name(stem))
    }

    fn lock_file(&self, stem: &str) -> PathBuf {
        self.locks.join(format!("{stem}.lock"))
    }

    /// The key of a stem; from inside the entry where the stem is too short to tell it.
    fn key_of(&self, stem: &str) -> Option<AttachmentKey> {
        if !file_name::is_hashed(stem) {
            return file_name::key(stem);
        }
        let bytes = read(&self.entry_file(stem)).ok()??;
        decode(&bytes, stem).ok().map(|entry| entry.key)
    }
}

/// Makes a folder that only root may look into, in one that is there; fine if it exists.
pub(crate) fn make_folder(path: &Path) -> Result<(), LedgerError> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(LedgerError::io("make the folder", path))
}

fn entry_name(stem: &str) -> String {
    format!("{stem}{}", file_name::SUFFIX)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::io("read", path)(error)),
    }
}

/// An entry from its bytes, if it is the one that its file's name promises.
fn decode(bytes: &[u8], stem: &str) -> Result<Entry, String> {
    let entry: Entry = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file_name::stem(&entry.key) == stem {
        Ok(entry)
    } else {
        Err(format!("it is about attachment {}/{}", entry.key.container_id, entry.key.ifname))
    }
}

/// An entry with nothing but what every entry has.
#[cfg(test)]
pub(crate) fn entry_for_tests(key: &AttachmentKey) -> Entry {
    let fields = serde_json::json!({
        "key": key, "attempt": "a-1", "network": "shop/blue", "bootID": "boot-1", "state": "adding",
        "configName": "shop.blue", "cniVersion": "1.0.0",
    });
    serde_json::from_value(fields).unwrap()
}
