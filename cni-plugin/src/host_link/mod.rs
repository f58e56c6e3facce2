//! Links that live on the host for as long as attachments use them.
//!
//! One link is one folder of users, and everything about it happens under its lock, so that any number of calls may
//! want it at once. The user is recorded before the link is made, and dropped before the link is removed: a call that
//! dies leaves a record that a later release or sweep finds, and a mark (module `mark`) by which the link is known.

mod bridge;
mod error;
mod mark;
#[cfg(test)]
mod tests;
mod users;

use std::io;
use std::path::{Path, PathBuf};

use knap_protocol::{AttachmentKey, HostLink, HostLinkKind, InterfaceName};

use crate::ledger::{self, FileLock, Ledger, LedgerError};
use crate::netlink::Netlink;
use crate::{boot, fault};

pub use error::HostLinkError;
use mark::Mark;
use users::Users;

/// The host links of one node: those in the network namespace of the calling thread.
#[derive(Debug)]
pub struct HostLinks {
    state_dir: PathBuf,
}

impl HostLinks {
    /// Those recorded in `state_dir`, which is the ledger's and has been opened as such.
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    /// Makes sure that the link is there and as described, and records that `user` needs it. On failure the user is
    /// not recorded. The user's ledger entry must name the link before, so that whatever moment this dies at, a
    /// release follows.
    pub fn ensure(&self, link: &HostLink, user: &AttachmentKey) -> Result<(), HostLinkError> {
        let users = Users::new(&self.links(), &link.name, &link.owner)?;
        let shape = match &link.kind {
            HostLinkKind::Bridge => bridge::ensure,
            HostLinkKind::Unknown(kind) => {
                return Err(HostLinkError::UnknownKind { name: link.name.clone(), kind: kind.clone() });
            }
        };
        let mark = self.mark(&users)?;
        let lock = self.lock(&link.name)?;
        let made = self.record(&users, user).and_then(|()| {
            fault::point("host-link.user-recorded");
            shape(&mut open(&link.name)?, link, &mark)
        });
        if made.is_err() {
            // What failed is the news; what can't be undone now is undone by the release that follows.
            let _ = self.drop_users(&users, lock, |stem| stem == ledger::stem(user));
        }
        made
    }

    /// Drops the user, and the link with its last one, whatever its kind. Repeatable; a link that is not ours is
    /// left alone.
    pub fn release(&self, link: &HostLink, user: &AttachmentKey) -> Result<(), HostLinkError> {
        match Users::new(&self.links(), &link.name, &link.owner) {
            Ok(users) => self.release_user(&users, user),
            // A link that can't be recorded was never made, and its entry must not stay for it.
            Err(_) => Ok(()),
        }
    }

    /// Drops a user whose entry is lost, from every link. Goes on past errors and reports them all.
    pub fn release_all(&self, user: &AttachmentKey) -> Vec<HostLinkError> {
        self.for_all(|users| self.release_user(users, user))
    }

    /// Drops the users that the ledger does not know, and links that have no user left. Goes on past errors and
    /// reports them all. Part of reap.
    pub fn sweep(&self, ledger: &Ledger) -> Vec<HostLinkError> {
        self.for_all(|users| {
            // A user's entry is written before the user, and outlives it: who has no entry under this lock is gone. Who
            // has one that can't be read may run. It is looked for in this order, in which it is moved.
            let lock = self.lock(&users.name)?;
            self.drop_users(users, lock, |stem| !ledger.has_entry(stem) && !ledger.is_put_aside(stem))
        })
    }

    fn record(&self, users: &Users, user: &AttachmentKey) -> Result<(), HostLinkError> {
        ledger::make_folder(&self.links())?;
        Ok(users.add(user)?)
    }

    fn release_user(&self, users: &Users, user: &AttachmentKey) -> Result<(), HostLinkError> {
        let lock = self.lock(&users.name)?;
        self.drop_users(users, lock, |stem| stem == ledger::stem(user))
    }

    fn for_all(&self, one: impl Fn(&Users) -> Result<(), HostLinkError>) -> Vec<HostLinkError> {
        match Users::all(&self.links()) {
            Ok(all) => all.iter().filter_map(|users| one(users).err()).collect(),
            Err(error) => vec![error],
        }
    }

    /// Drops the users that `gone` picks, and if none stays, the link, its record and its lock file.
    fn drop_users(
        &self,
        users: &Users,
        lock: FileLock,
        gone: impl Fn(&str) -> bool,
    ) -> Result<(), HostLinkError> {
        let (dropped, left): (Vec<_>, Vec<_>) = users.stems()?.into_iter().partition(|stem| gone(stem));
        for stem in dropped {
            users.remove(&stem)?;
        }
        fault::point("host-link.user-dropped");
        if !left.is_empty() {
            return Ok(());
        }
        self.remove_link(users)?;
        fault::point("host-link.removed");
        users.forget()?;
        lock.remove().map_err(LedgerError::io("remove", &self.lock_file(&users.name)))?;
        Ok(())
    }

    fn remove_link(&self, users: &Users) -> Result<(), HostLinkError> {
        let mark = self.mark(users)?;
        let mut netlink = open(&users.name)?;
        let found = netlink.link(&users.name).map_err(kernel("look up", &users.name))?;
        match found.filter(|link| mark.is_on(link)) {
            Some(link) => netlink.delete(link.index).map_err(kernel("remove", &users.name)),
            None => Ok(()),
        }
    }

    fn mark(&self, users: &Users) -> Result<Mark, HostLinkError> {
        // The kernel's own boot ID, in test builds too: the links live as long as the real boot.
        let boot = boot::current(None)?;
        let node = mark::node(&boot, &self.state_dir).map_err(LedgerError::io("look at", &self.state_dir))?;
        Ok(Mark::new(&users.name, &users.owner, &node))
    }

    /// Holders only talk to the kernel and to the state folder, so the wait needs no deadline.
    fn lock(&self, name: &InterfaceName) -> Result<FileLock, HostLinkError> {
        let path = self.lock_file(name);
        Ok(FileLock::acquire(&path).map_err(LedgerError::io("lock", &path))?)
    }

    fn links(&self) -> PathBuf {
        self.state_dir.join("links")
    }

    fn lock_file(&self, name: &InterfaceName) -> PathBuf {
        self.state_dir.join("locks").join(format!("{}.link", ledger::escaped(name.as_str())))
    }
}

fn open(name: &InterfaceName) -> Result<Netlink, HostLinkError> {
    Netlink::open().map_err(kernel("ask the kernel about", name))
}

/// For `map_err`: the kernel refused `action` on the link `name`.
fn kernel(action: &'static str, name: &InterfaceName) -> impl FnOnce(io::Error) -> HostLinkError {
    let name = name.clone();
    move |source| HostLinkError::Kernel { action, name, source }
}
