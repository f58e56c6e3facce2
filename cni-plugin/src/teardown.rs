//! Undoing an attachment from its ledger entry alone.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use knap_protocol::BootId;

use crate::delegate::{Chain, Patience, last_result};
use crate::failure::Failure;
use crate::fault;
use crate::ledger::{Entry, LockedAttachment, Tombstone};
use crate::liveness::{self, Liveness};
use crate::session::Session;

/// How far a teardown goes.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// How many delegates may have run: the first so many.
    pub ran: usize,
    /// How long delegates may take.
    pub patience: Patience,
    /// Whether the runtime itself ends the attachment: then a path that is missing is a sandbox that is gone.
    pub by_runtime: bool,
}

impl Scope {
    /// All delegates of an entry.
    pub fn whole(entry: &Entry, patience: Patience, by_runtime: bool) -> Self {
        Self { ran: entry.plugins.len(), patience, by_runtime }
    }
}

/// Undoes all that the entry names: delegates in reverse, then links, then the entry becomes a tombstone. Goes on past
/// errors and reports them all; while anything may remain, the entry does too.
pub fn tear_down(
    session: &Session<'_>,
    locked: &mut LockedAttachment<'_>,
    entry: &Entry,
    boot: &BootId,
    scope: Scope,
) -> Result<Tombstone, Failure> {
    let sandbox = Sandbox::of(entry, boot);
    let delegates = session.delegates(Some(entry));
    let chain = Chain::new(&delegates, entry, session.environment, &sandbox.netns);
    let failures = chain.del(scope.ran, last_result(entry).as_ref(), scope.patience);
    if let Some(failure) = Failure::all_of(failures) {
        let gone = sandbox.proven_gone || (scope.by_runtime && sandbox.missing);
        if !gone {
            return Err(failure.about(&object(entry)));
        }
        tracing::warn!(
            container = %entry.key.container_id, ifname = %entry.key.ifname, error = %failure,
            "a delegate failed to undo what went with its namespace"
        );
    }
    fault::point("teardown.delegates-undone");
    let released = entry.host_links.iter().map(|link| session.links.release(link, &entry.key));
    let failures = released.filter_map(Result::err).map(Failure::from).collect();
    if let Some(failure) = Failure::all_of(failures) {
        return Err(failure.about(&object(entry)));
    }
    fault::point("teardown.links-released");
    Ok(locked.to_tombstone(entry)?)
}

/// The attachment, for messages.
fn object(entry: &Entry) -> String {
    format!(
        "interface {} of network {} in sandbox {}",
        entry.key.ifname, entry.network, entry.key.container_id
    )
}

/// What has become of an attachment's namespace.
struct Sandbox {
    /// Certainly no more.
    proven_gone: bool,
    /// Nothing is at its path.
    missing: bool,
    /// CNI_NETNS for the delegates.
    netns: OsString,
}

impl Sandbox {
    fn of(entry: &Entry, boot: &BootId) -> Self {
        let Some(then) = &entry.netns else {
            return Self { proven_gone: false, missing: false, netns: OsString::new() };
        };
        let proven_gone = matches!(liveness::of(then, boot, &entry.boot_id), Liveness::Dead(_));
        let found = fs::metadata(&then.path);
        let missing = found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let is_then = |file: &fs::Metadata| {
            (file.dev(), file.ino()) == (then.dev, then.inode) && *boot == entry.boot_id
        };
        // The original path, unchanged: sriov resets a device only with it. But where another namespace has taken the
        // path, what delegates delete there would be somebody else's.
        let another = found.as_ref().is_ok_and(|file| !is_then(file));
        let netns = if another { OsString::new() } else { then.path.clone().into_os_string() };
        Self { proven_gone, missing, netns }
    }
}
