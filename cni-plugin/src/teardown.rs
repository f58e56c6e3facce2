//! Undoing an attachment from its ledger entry alone.

use std::ffi::OsString;

use knap_protocol::{BootId, CniCode};

use crate::delegate::{Chain, Patience, last_result};
use crate::failure::Failure;
use crate::fault;
use crate::ledger::{Entry, LockedAttachment, Tombstone};
use crate::liveness::{self, Doubt, Liveness, Occupant};
use crate::session::Session;

/// How far a teardown goes.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// How many delegates may have run: the first so many.
    pub ran: usize,
    /// How long delegates may take.
    pub patience: Patience,
    /// Who says that the attachment ends.
    pub teller: Teller,
}

/// Who says that an attachment ends, and so what may be believed of a namespace that is not to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// Nobody but the ledger.
    Nobody,
    /// The runtime, which has the namespace in hand: a path that is missing is a sandbox that is gone.
    Runtime,
    /// The runtime, which says that the namespace is no more.
    RuntimeWithoutNamespace,
}

impl Teller {
    /// Whether a namespace that is nowhere to be seen, with this in its place, is known to be gone or another's.
    fn may_know(self, occupant: Occupant) -> bool {
        match self {
            Self::Nobody => false,
            Self::Runtime => occupant != Occupant::NoNamespace,
            Self::RuntimeWithoutNamespace => true,
        }
    }
}

impl Scope {
    /// All delegates of an entry.
    pub fn whole(entry: &Entry, patience: Patience, teller: Teller) -> Self {
        Self { ran: entry.plugins.len(), patience, teller }
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
    if scope.ran > 0 {
        undo_delegates(session, entry, boot, scope)?;
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

fn undo_delegates(session: &Session<'_>, entry: &Entry, boot: &BootId, scope: Scope) -> Result<(), Failure> {
    let sandbox = Sandbox::of(entry, boot, scope.teller)
        .map_err(|doubt| out_of_reach(entry, doubt).about(&object(entry)))?;
    let delegates = session.delegates(Some(entry));
    let chain = Chain::new(&delegates, entry, session.environment, &sandbox.netns);
    let failures = chain.del(scope.ran, last_result(entry).as_ref(), scope.patience);
    if let Some(failure) = Failure::all_of(failures) {
        if !sandbox.proven_gone && !sandbox.missing {
            return Err(failure.about(&object(entry)));
        }
        tracing::warn!(
            container = %entry.key.container_id, ifname = %entry.key.ifname, error = %failure,
            "a delegate failed to undo what went with its namespace"
        );
    }
    Ok(())
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
    /// The runtime ends it, and no namespace is at its path.
    missing: bool,
    /// CNI_NETNS for the delegates.
    netns: OsString,
}

impl Sandbox {
    /// Looks for the namespace. Fails where it may be alive and not within reach: a delegate that is given a path without it, or
    /// none, undoes nothing and succeeds, and the address would be free while a pod still has it.
    fn of(entry: &Entry, boot: &BootId, teller: Teller) -> Result<Self, Doubt> {
        let Some(then) = &entry.netns else {
            return Ok(Self { proven_gone: false, missing: false, netns: OsString::new() });
        };
        let occupant = liveness::occupant(then);
        let liveness = liveness::of(then, boot, &entry.boot_id);
        let proven_gone = matches!(liveness, Liveness::Dead(_));
        if occupant != Occupant::ItsNamespace
            && let Liveness::Unknown(doubt) = liveness
            && !teller.may_know(occupant)
        {
            return Err(doubt);
        }
        let netns = match occupant {
            // Gone too, the original path, unchanged: sriov resets a device only with it.
            Occupant::ItsNamespace | Occupant::Nothing if *boot == entry.boot_id => {
                then.path.clone().into_os_string()
            }
            // What delegates delete in another namespace would be somebody else's; so may be, after a reboot, the device.
            _ => OsString::new(),
        };
        let missing =
            teller != Teller::Nobody && matches!(occupant, Occupant::Nothing | Occupant::NoNamespace);
        Ok(Self { proven_gone, missing, netns })
    }
}

/// A teardown for which the sandbox would have to be within reach.
fn out_of_reach(entry: &Entry, doubt: Doubt) -> Failure {
    let path = entry.netns.as_ref().map(|netns| netns.path.display().to_string()).unwrap_or_default();
    let message = format!(
        "nothing is undone while namespace {path} may live and is out of reach: {doubt}; check that this process sees the \
         host's mounts (mount propagation HostToContainer), and remove a plain file that a dead sandbox left there"
    );
    Failure::new(CniCode::NETNS, message)
}
