//! Entries that could not be read: what is done about what they stood for.

use std::path::Path;
use std::time::Instant;

use knap_protocol::{AttachmentKey, BootId};

use crate::failure::Failure;
use crate::ledger::{CorruptFile, Remains};
use crate::liveness::{self, Liveness};
use crate::netns::{Netns, NetnsError};
use crate::release::ReleaseError;
use crate::session::Session;

/// What became of a file that was put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Salvage {
    /// Nothing of it is left.
    Settled,
    /// The attachment may still live: its address must stay taken.
    Kept,
}

/// Settles all put-aside files of an attachment, and once none is left, drops it from the links that it used: a bridge must not
/// go while a pod may still hang on it. `netns` is what the caller says of its namespace.
pub fn settle_attachment(
    session: &Session<'_>,
    key: &AttachmentKey,
    netns: &str,
    boot: &BootId,
    until: Instant,
) -> Vec<Failure> {
    let files = match session.ledger.corrupt() {
        Ok(files) => files,
        Err(error) => return vec![error.into()],
    };
    let (mut kept, mut failures) = (false, Vec::new());
    for file in files.into_iter().filter(|file| file.remains().key.as_ref() == Some(key)) {
        match settle(session, file, Some(netns), boot, until) {
            Ok(Salvage::Settled) => {}
            Ok(Salvage::Kept) => kept = true,
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    if !kept && failures.is_empty() {
        failures.extend(session.links.release_all(key).into_iter().map(Failure::from));
    }
    failures
}

/// Releases what a file stood for, if its namespace or its interface is gone. Which lease it was may be unreadable too:
/// then reconciliation finds it, once the file is out of the way.
pub fn settle(
    session: &Session<'_>,
    file: CorruptFile,
    netns: Option<&str>,
    boot: &BootId,
    until: Instant,
) -> Result<Salvage, ReleaseError> {
    let remains = file.remains();
    if !remains.torn_down && !is_gone(remains, netns, boot) {
        return Ok(Salvage::Kept);
    }
    if let (Some(key), Some(attempt)) = (&remains.key, &remains.attempt) {
        session.resolver.release(key, attempt, &remains.leases, until)?;
    }
    tracing::warn!(file = %file.path().display(), "what a corrupt entry stood for is gone, and released");
    file.remove()?;
    Ok(Salvage::Settled)
}

fn is_gone(remains: &Remains, callers: Option<&str>, boot: &BootId) -> bool {
    if remains.boot_id.as_ref().is_some_and(|then| then != boot) {
        return true;
    }
    if let Some(then) = &remains.netns
        && matches!(liveness::of(then, boot, boot), Liveness::Dead(_))
    {
        return true;
    }
    let known = remains.netns.as_ref().map(|then| then.path.as_path());
    let (Some(path), Some(key)) =
        (callers.filter(|path| !path.is_empty()).map(Path::new).or(known), &remains.key)
    else {
        return false;
    };
    match Netns::open(path) {
        Ok(netns) => netns.has_interface(&key.ifname).is_ok_and(|there| !there),
        // Missing says something only from the caller: from here, a mount may be missing.
        Err(NetnsError::Missing { .. }) => callers.is_some(),
        Err(_) => false,
    }
}
