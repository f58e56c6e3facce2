//! Removal of what killed processes left in the ledger's folders. Part of reap.

use super::{Ledger, LedgerError, corrupt, decode, file, file_name, pods, read, tombstone};
use crate::ledger::FileLock;

impl Ledger {
    /// Removes temporary files, lock files that nobody holds, and marks of pods whose entry is gone; puts aside
    /// files in the entries' folder that no key leads to. Goes on past errors and reports them all. What a running
    /// call has in use is left to it.
    pub fn sweep(&self) -> Vec<LedgerError> {
        let mut errors = Vec::new();
        self.sweep_names(&mut errors, file::temp_names(&self.attachments), Self::sweep_entry_temp);
        self.sweep_names(&mut errors, file::temp_names(&self.releasing), Self::sweep_tombstone_temp);
        self.sweep_names(&mut errors, file::names(&self.attachments), Self::sweep_stray);
        self.sweep_names(&mut errors, file::names(&self.pods), Self::sweep_marks);
        self.sweep_names(&mut errors, file::names(&self.locks), Self::sweep_lock);
        errors
    }

    fn sweep_names(
        &self,
        errors: &mut Vec<LedgerError>,
        names: Result<Vec<String>, LedgerError>,
        one: impl Fn(&Self, &str) -> Result<(), LedgerError>,
    ) {
        match names {
            Ok(names) => errors.extend(names.iter().filter_map(|name| one(self, name).err())),
            Err(error) => errors.push(error),
        }
    }

    fn sweep_entry_temp(&self, temp: &str) -> Result<(), LedgerError> {
        match file::name_of_temp(temp).and_then(|name| name.strip_suffix(file_name::SUFFIX)) {
            Some(stem) => self.if_unused(stem, || file::remove(&self.attachments.join(temp))),
            None => Ok(()),
        }
    }

    fn sweep_tombstone_temp(&self, temp: &str) -> Result<(), LedgerError> {
        match file::name_of_temp(temp).and_then(tombstone::split) {
            Some((stem, _)) => self.if_unused(stem, || file::remove(&self.releasing.join(temp))),
            None => Ok(()),
        }
    }

    /// A name that spells a key is found by that key, and judged when it is locked and read. Any other can't be.
    fn sweep_stray(&self, name: &str) -> Result<(), LedgerError> {
        let stem = name.strip_suffix(file_name::SUFFIX).unwrap_or(name);
        if name.ends_with(file_name::SUFFIX) && file_name::key(stem).is_some() {
            return Ok(());
        }
        let path = self.attachments.join(name);
        self.if_unused(stem, || match read(&path)?.map(|bytes| decode(&bytes, stem)) {
            Some(Err(reason)) => Err(corrupt::put_aside(&path, &self.corrupt, reason)),
            _ => Ok(()),
        })
    }

    fn sweep_marks(&self, bucket: &str) -> Result<(), LedgerError> {
        let folder = self.pods.join(bucket);
        for mark in file::names(&folder)? {
            match pods::stem_of(&mark) {
                Some(stem) if !self.has_entry(stem) => self.if_unused(stem, || {
                    if self.has_entry(stem) { Ok(()) } else { file::remove(&folder.join(&mark)) }
                })?,
                _ => {}
            }
        }
        Ok(())
    }

    fn sweep_lock(&self, name: &str) -> Result<(), LedgerError> {
        let path = self.locks.join(name);
        match FileLock::try_acquire(&path).map_err(LedgerError::io("lock", &path))? {
            Some(lock) => lock.remove().map_err(LedgerError::io("remove", &path)),
            None => Ok(()),
        }
    }

    /// Runs `work` under an attachment's lock, unless somebody holds it: then it is in use, and nothing is left over.
    fn if_unused(
        &self,
        stem: &str,
        work: impl FnOnce() -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let path = self.lock_file(stem);
        let Some(lock) = FileLock::try_acquire(&path).map_err(LedgerError::io("lock", &path))? else {
            return Ok(());
        };
        let done = work();
        let unlocked = lock.remove().map_err(LedgerError::io("remove", &path));
        done.and(unlocked)
    }
}
