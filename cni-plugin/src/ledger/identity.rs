//! Which ledger this is: a name of its own, made with it, that ends the name of every attempt.
//!
//! A state folder may be emptied, or its disk not be mounted, while pods run. The ledger that is made anew then lists nothing
//! of what the other wrote down, and must not take that for what nobody holds.

use std::fs;
use std::io;
use std::path::Path;

use knap_protocol::Attempt;

use super::{Ledger, LedgerError, file, read};

/// In the state folder.
const NAME: &str = "id";
/// Texts that nobody else has: five groups of hexadecimal digits (random(4)).
const SOURCE: &str = "/proc/sys/kernel/random/uuid";
/// Those, before the ledger's name in an attempt's.
const GROUPS: usize = 5;

impl Ledger {
    /// A name that nobody else has: who holds it holds the lease.
    pub fn new_attempt(&self) -> Result<Attempt, LedgerError> {
        let unique = unique()?;
        let name = match self.id()? {
            Some(id) => format!("{unique}-{id}"),
            None => unique,
        };
        name.parse().map_err(|error| no_name(io::Error::other(error)))
    }

    /// Whether an attempt is this ledger's, or may be: not every one says whose it is.
    pub fn may_have_made(&self, attempt: &Attempt) -> Result<bool, LedgerError> {
        match attempt.as_str().split('-').nth(GROUPS) {
            Some(maker) => Ok(self.id()?.as_deref() == Some(maker)),
            None => Ok(true),
        }
    }

    /// Gives a ledger that has no name one. Under the lock of who enters a boot.
    pub(super) fn ensure_id(&self) -> Result<(), LedgerError> {
        if self.id()?.is_some() {
            return Ok(());
        }
        let unique = unique()?;
        let id = unique.split('-').next().unwrap_or_default();
        file::replace(&self.folder, NAME, id.as_bytes(), file::Durability::Synced)
    }

    fn id(&self) -> Result<Option<String>, LedgerError> {
        let text = read(&self.folder.join(NAME))?.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())))
    }
}

fn unique() -> Result<String, LedgerError> {
    Ok(fs::read_to_string(SOURCE).map_err(no_name)?.trim().to_owned())
}

fn no_name(source: io::Error) -> LedgerError {
    LedgerError::Random { path: Path::new(SOURCE), source }
}
