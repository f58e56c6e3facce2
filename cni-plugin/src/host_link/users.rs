//! Who uses a host link: an empty file per attachment, in a folder per link.

use std::fs::File;
use std::path::{Path, PathBuf};

use knap_protocol::{AttachmentKey, InterfaceName};

use super::HostLinkError;
use crate::ledger::{self, LedgerError};

/// The users of one link of one owner. Changed only under the link's lock.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) name: InterfaceName,
    pub(super) owner: String,
    folder: PathBuf,
}

impl Users {
    /// The folder `<name>@<owner>` in `links`: two owners never share one, even where they want the same name.
    pub(super) fn new(links: &Path, name: &InterfaceName, owner: &str) -> Result<Self, HostLinkError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(1..=64).contains(&owner.len()) || !owner.chars().all(allowed) {
            return Err(HostLinkError::Owner { name: name.clone(), owner: owner.to_owned() });
        }
        let folder = links.join(format!("{}@{owner}", ledger::escaped(name.as_str())));
        Ok(Self { name: name.clone(), owner: owner.to_owned(), folder })
    }

    /// All that are recorded. A folder that is none of ours is left out.
    pub(super) fn all(links: &Path) -> Result<Vec<Self>, HostLinkError> {
        let folders = ledger::names(links)?;
        Ok(folders.iter().filter_map(|folder| Self::parse(links, folder)).collect())
    }

    fn parse(links: &Path, folder: &str) -> Option<Self> {
        let (name, owner) = folder.split_once('@')?;
        Self::new(links, &ledger::unescaped(name)?.parse().ok()?, owner).ok()
    }

    /// Records the user, before anything is made for it.
    pub(super) fn add(&self, user: &AttachmentKey) -> Result<(), LedgerError> {
        ledger::make_folder(&self.folder)?;
        let file = self.folder.join(ledger::stem(user));
        File::create(&file).map(drop).map_err(LedgerError::io("write", &file))
    }

    /// Forgets a user, by the stem of its entry; fine if it is none.
    pub(super) fn remove(&self, stem: &str) -> Result<(), LedgerError> {
        ledger::remove(&self.folder.join(stem))
    }

    /// Stems of all users' entries.
    pub(super) fn stems(&self) -> Result<Vec<String>, LedgerError> {
        ledger::names(&self.folder)
    }

    /// Removes the record of a link that has no users and is gone.
    pub(super) fn forget(&self) -> Result<(), LedgerError> {
        let removed = ledger::remove_empty_folder(&self.folder);
        removed.map(drop).map_err(LedgerError::io("remove", &self.folder))
    }
}
