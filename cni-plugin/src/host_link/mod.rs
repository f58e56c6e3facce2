//! Links that live on the host for as long as attachments use them.

mod error;

use std::path::Path;

use knap_protocol::{AttachmentKey, HostLink};

use crate::ledger::Ledger;

pub use error::HostLinkError;

/// The host links of one node.
#[derive(Debug)]
pub struct HostLinks {}

impl HostLinks {
    /// Those recorded in `state_dir`, the ledger's.
    pub fn new(_state_dir: &Path) -> Self {
        Self {}
    }

    /// Makes sure that the link is there and as described, and records that `user` needs it. The user's ledger
    /// entry must name the link before, so that whatever moment this dies at, a release follows.
    pub fn ensure(&self, _link: &HostLink, _user: &AttachmentKey) -> Result<(), HostLinkError> {
        Ok(())
    }

    /// Drops the user, and the link with its last one. Repeatable.
    pub fn release(&self, _link: &HostLink, _user: &AttachmentKey) -> Result<(), HostLinkError> {
        Ok(())
    }

    /// Drops a user whose entry is lost from every link. Goes on past errors and reports them all.
    pub fn release_all(&self, _user: &AttachmentKey) -> Vec<HostLinkError> {
        Vec::new()
    }

    /// Drops the users that the ledger does not know. Part of reap.
    pub fn sweep(&self, _ledger: &Ledger) -> Vec<HostLinkError> {
        Vec::new()
    }
}
