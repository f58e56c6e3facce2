//! One attachment under its lock: the only way to change its entry.

use std::fs::{self, File};
use std::io;
use std::time::SystemTime;

use knap_protocol::{AttachmentKey, LedgerState};

use super::{Durability, Entry, FileLock, Ledger, LedgerError, corrupt, decode, file, pods, read, tombstone};
use crate::fault;

/// The right to change one attachment's entry. Ends when dropped, and when the process dies.
#[derive(Debug)]
pub struct LockedAttachment<'a> {
    ledger: &'a Ledger,
    key: AttachmentKey,
    stem: String,
    lock: Option<FileLock>,
    /// What the file holds, as far as this call has read or written it.
    known: Option<Entry>,
}

impl<'a> LockedAttachment<'a> {
    pub(super) fn new(ledger: &'a Ledger, key: AttachmentKey, stem: String, lock: FileLock) -> Self {
        Self { ledger, key, stem, lock: Some(lock), known: None }
    }

    /// Which attachment it is.
    pub fn key(&self) -> &AttachmentKey {
        &self.key
    }

    /// The entry, where there is one. A corrupt one is put aside and reported as [`LedgerError::Corrupt`]; after
    /// that there is none.
    pub fn read(&mut self) -> Result<Option<Entry>, LedgerError> {
        let path = self.ledger.entry_file(&self.stem);
        let Some(bytes) = read(&path)? else {
            self.known = None;
            return Ok(None);
        };
        match decode(&bytes, &self.stem) {
            Ok(entry) => {
                self.known = Some(entry.clone());
                Ok(Some(entry))
            }
            Err(reason) => Err(corrupt::put_aside(&path, &self.ledger.corrupt, reason)),
        }
    }

    /// Writes the entry, replacing what was there. `entry.key` must be this attachment's.
    pub fn write(&mut self, entry: &Entry, durability: Durability) -> Result<(), LedgerError> {
        self.put(&self.ledger.attachments, &super::entry_name(&self.stem), entry, durability)?;
        let uid = uid_of(entry);
        if self.known.as_ref().and_then(uid_of) != uid
            && let Some(uid) = uid
        {
            pods::add(&self.ledger.pods, uid, &self.stem)?;
            fault::point("ledger.indexed");
        }
        self.known = Some(entry.clone());
        Ok(())
    }

    /// Makes the entry the last in [`Ledger::keys_by_age`], and changes nothing else.
    pub fn touch(&self) -> Result<(), LedgerError> {
        let path = self.ledger.entry_file(&self.stem);
        let touched = File::options().write(true).open(&path);
        touched.and_then(|file| file.set_modified(SystemTime::now())).map_err(LedgerError::io("touch", &path))
    }

    /// Removes the entry; fine where there is none.
    pub fn remove(&mut self) -> Result<(), LedgerError> {
        self.unindex()?;
        file::remove(&file::temp_of(&self.ledger.attachments, &super::entry_name(&self.stem)))?;
        file::remove(&self.ledger.entry_file(&self.stem))?;
        fault::point("ledger.removed");
        self.known = None;
        Ok(())
    }

    /// Turns the entry into a tombstone: everything is undone here, and the resolver is to be told.
    ///
    /// As a rule this moves the file, which needs no room on the disk and can't lose it; only an entry that
    /// differs from what the file holds is written first. Not synced: a power cut brings the entry back, of a
    /// boot that is over by then.
    pub fn to_tombstone(&mut self, entry: &Entry) -> Result<tombstone::Tombstone, LedgerError> {
        let name = tombstone::file_name(&self.stem, &entry.attempt);
        let path = self.ledger.releasing.join(&name);
        if self.known.as_ref().is_none_or(|known| !differs_in_state_alone(known, entry)) {
            self.write_tombstone(&name, entry)?;
        } else {
            self.unindex()?;
            fs::rename(self.ledger.entry_file(&self.stem), &path)
                .map_err(LedgerError::io("move an entry to", &path))?;
        }
        fault::point("ledger.tombstone-moved");
        self.remove()?;
        Ok(tombstone::Tombstone::new(path, entry.clone()))
    }

    /// On a full disk an older form of the same attempt's entry serves: its release names the same attempt.
    fn write_tombstone(&self, name: &str, entry: &Entry) -> Result<(), LedgerError> {
        let written = self.put(&self.ledger.releasing, name, entry, Durability::Cached);
        match (written, &self.known) {
            (Err(full @ LedgerError::Full { .. }), Some(known)) if known.attempt == entry.attempt => {
                let moved = fs::rename(self.ledger.entry_file(&self.stem), self.ledger.releasing.join(name));
                moved.map_err(|_: io::Error| full)
            }
            (written, _) => written,
        }
    }

    fn put(
        &self,
        folder: &std::path::Path,
        name: &str,
        entry: &Entry,
        durability: Durability,
    ) -> Result<(), LedgerError> {
        let bytes = serde_json::to_vec(entry)
            .map_err(|source| LedgerError::Encode { path: folder.join(name), source })?;
        file::replace(folder, name, &bytes, durability)
    }

    /// Drops the pod's mark before the entry goes, so that a mark always has its entry.
    fn unindex(&mut self) -> Result<(), LedgerError> {
        if self.known.is_none() {
            // Whose pod it is stands in the entry; one that can't be read leaves its mark to the sweep.
            let bytes = read(&self.ledger.entry_file(&self.stem))?;
            self.known = bytes.and_then(|bytes| decode(&bytes, &self.stem).ok());
        }
        if let Some(uid) = self.known.as_ref().and_then(uid_of) {
            pods::remove(&self.ledger.pods, uid, &self.stem)?;
            fault::point("ledger.unindexed");
        }
        Ok(())
    }
}

impl Drop for LockedAttachment<'_> {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // A lock file that stays is no harm: the next call takes it over, and the sweep removes it.
            let _ = lock.remove();
        }
    }
}

fn uid_of(entry: &Entry) -> Option<&str> {
    entry.pod.as_ref()?.uid.as_deref()
}

/// The folder a file is in says that it is a tombstone, whatever state is written inside.
fn differs_in_state_alone(known: &Entry, entry: &Entry) -> bool {
    let releasing = |entry: &Entry| Entry { state: LedgerState::Releasing, ..entry.clone() };
    releasing(known) == releasing(entry)
}
