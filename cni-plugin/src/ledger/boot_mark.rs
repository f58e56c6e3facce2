//! The boot that the ledger was last written in.
//!
//! Every ADD and every reap enters the boot that it runs in before it writes an entry of it. So where the mark names another boot,
//! all that is there is of a boot that is over, also what can't be read: a power cut may leave a file that says nothing.
//! No clock is asked, since one may jump.

use std::io;

use knap_protocol::BootId;

use super::{FileLock, Ledger, LedgerError, corrupt, decode, file, file_name, read};

/// In the state folder.
const NAME: &str = "boot";

impl Ledger {
    /// Takes note of the running boot. The first call in a boot has what can't be read put aside, as of a boot that is over, and
    /// gives the ledger a name if it has none.
    pub fn enter(&self, boot: &BootId) -> Result<(), LedgerError> {
        if self.last_boot()?.as_ref() == Some(boot) {
            return Ok(());
        }
        let path = self.lock_file(NAME);
        let lock = FileLock::acquire(&path).map_err(LedgerError::io("lock", &path))?;
        let entered = self.enter_locked(boot);
        let unlocked = lock.remove().map_err(LedgerError::io("remove", &path));
        entered.and(unlocked)
    }

    fn enter_locked(&self, boot: &BootId) -> Result<(), LedgerError> {
        match self.last_boot()? {
            Some(last) if last == *boot => return Ok(()),
            Some(last) => self.put_unreadable_aside(&last)?,
            // Without a mark, nothing is known of what is there.
            None => {}
        }
        self.ensure_id()?;
        file::replace(&self.folder, NAME, boot.as_str().as_bytes(), file::Durability::Synced)
    }

    fn last_boot(&self) -> Result<Option<BootId>, LedgerError> {
        let bytes = read(&self.folder.join(NAME))?;
        Ok(bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()))
    }

    /// Dying on the way is no harm: the next call goes on, as long as the mark is the old one.
    fn put_unreadable_aside(&self, over: &BootId) -> Result<(), LedgerError> {
        for name in file::names(&self.attachments)? {
            let path = self.attachments.join(&name);
            let stem = name.strip_suffix(file_name::SUFFIX).unwrap_or(&name);
            let Some(Err(reason)) = read(&path)?.map(|bytes| decode(&bytes, stem)) else { continue };
            match corrupt::put_aside(&path, &self.corrupt, reason) {
                told @ LedgerError::Corrupt { .. } => tracing::error!("{told}"),
                // A DEL was faster.
                LedgerError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {}
                failed => return Err(failed),
            }
        }
        corrupt::mark_all(&self.corrupt, over)
    }
}
