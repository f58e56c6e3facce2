//! Attachments that are undone here and that the resolver still has to be told of.

use std::path::PathBuf;

use knap_protocol::{Attempt, LedgerState};

use super::{Entry, Ledger, LedgerError, corrupt, decode, file, read};

/// One release that is still to be sent. Sending it twice does no harm, so it takes no lock.
#[derive(Debug)]
pub struct Tombstone {
    path: PathBuf,
    entry: Entry,
}

impl Tombstone {
    pub(super) fn new(path: PathBuf, entry: Entry) -> Self {
        Self { path, entry: Entry { state: LedgerState::Releasing, ..entry } }
    }

    /// What is to be released.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Forgets it, once the resolver has confirmed the release; fine if somebody else already has.
    pub fn remove(self) -> Result<(), LedgerError> {
        file::remove(&self.path)
    }
}

impl Ledger {
    /// Reads a tombstone by its file name; `None` if somebody has flushed it meanwhile.
    pub(super) fn tombstone(&self, name: &str) -> Result<Option<Tombstone>, LedgerError> {
        let path = self.releasing.join(name);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let parsed = match split(name) {
            Some((stem, attempt)) => decode(&bytes, stem).and_then(|entry| {
                let same = entry.attempt.as_str() == attempt;
                if same { Ok(entry) } else { Err(format!("it is about attempt {}", entry.attempt)) }
            }),
            None => Err("its name is not a tombstone's".to_owned()),
        };
        match parsed {
            Ok(entry) => Ok(Some(Tombstone::new(path, entry))),
            Err(reason) => Err(corrupt::put_aside(&path, &self.corrupt, reason)),
        }
    }
}

/// `<stem>@<attempt>.json`: one attachment may leave several, one per ADD.
pub(super) fn file_name(stem: &str, attempt: &Attempt) -> String {
    format!("{stem}@{attempt}{}", super::file_name::SUFFIX)
}

/// Stem and attempt of a tombstone's file name.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    name.strip_suffix(super::file_name::SUFFIX)?.rsplit_once('@')
}
