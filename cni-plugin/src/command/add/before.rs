//! Before an ADD asks for anything: what stands in its way, and what holds an address for nothing.

use std::time::Instant;

use knap_protocol::{AttachmentKey, BootId, CniCode, LedgerState, PodRef};

use crate::budget::Budget;
use crate::delegate::Patience;
use crate::failure::Failure;
use crate::ledger::{Entry, LedgerError, LockedAttachment};
use crate::liveness::{self, Liveness};
use crate::netns::Netns;
use crate::session::{DEL_PATIENCE, RELEASE_PATIENCE, Session};
use crate::teardown::{Scope, Teller, tear_down};
use crate::{release, salvage};

/// Undoes what an earlier ADD of the same attachment left, unless it is attached and well. Fails where the interface is
/// there all the same, and then leaves it alone: somebody else made it.
pub(super) fn make_way(
    session: &Session<'_>,
    locked: &mut LockedAttachment<'_>,
    netns: &Netns,
    boot: &BootId,
    budget: &Budget,
) -> Result<(), Failure> {
    let key = locked.key().clone();
    let exists = |who: &str| {
        let message = format!(
            "interface {} is already in {}, made by {who}: DEL it first, or choose another name",
            key.ifname,
            netns.identity().path.display()
        );
        Failure::new(CniCode::IO, message)
    };
    let mut corrupt = false;
    match locked.read() {
        Ok(None) => {}
        Ok(Some(entry)) => {
            if entry.state == LedgerState::Attached && netns.has_interface(&key.ifname)? {
                return Err(exists("an earlier ADD of this attachment"));
            }
            let patience = Patience { each: DEL_PATIENCE, until: budget.delegates() };
            // A runtime that asks again has ended what was before.
            undo(session, locked, &entry, boot, patience, Teller::Runtime)
                .map_err(|failure| failure.and("this is what an earlier ADD of the attachment left"))?;
        }
        Err(error @ LedgerError::Corrupt { .. }) => {
            tracing::error!(%error, "nothing can be undone from this entry");
            corrupt = true;
        }
        Err(other) => return Err(other.into()),
    }
    if netns.has_interface(&key.ifname)? {
        return Err(exists("somebody else"));
    }
    if corrupt {
        let path = netns.identity().path.to_string_lossy();
        let until = Instant::now() + RELEASE_PATIENCE / 2;
        for failure in salvage::settle_attachment(session, &key, &path, boot, until) {
            tracing::warn!(%failure, "`knap reap` will try again");
        }
    }
    Ok(())
}

/// Reaps entries of the same pod whose sandbox is certainly dead, so that a full subnet can't block the pod's restart.
/// What fails here, or is busy, is left to a later call.
pub(super) fn reap_dead_sandboxes(
    session: &Session<'_>,
    own: &AttachmentKey,
    pod: Option<&PodRef>,
    boot: &BootId,
    budget: &Budget,
) {
    let Some(uid) = pod.and_then(|pod| pod.uid.as_deref()) else { return };
    let keys = session.ledger.of_pod(uid).unwrap_or_else(|error| {
        tracing::warn!(%error, "can't look for the pod's earlier sandboxes");
        Vec::new()
    });
    for key in keys.iter().filter(|key| *key != own) {
        if let Err(failure) = reap_if_dead(session, key, uid, boot, budget) {
            tracing::warn!(container = %key.container_id, ifname = %key.ifname, %failure, "not reaped");
        }
    }
}

fn reap_if_dead(
    session: &Session<'_>,
    key: &AttachmentKey,
    uid: &str,
    boot: &BootId,
    budget: &Budget,
) -> Result<(), Failure> {
    // Not waited for: two sandboxes of one pod would wait for each other.
    let mut locked = session.ledger.lock(key, Instant::now())?;
    let Some(entry) = locked.read()? else { return Ok(()) };
    let is_pods = entry.pod.as_ref().and_then(|pod| pod.uid.as_deref()) == Some(uid);
    let death = entry.netns.as_ref().map(|netns| liveness::of(netns, boot, &entry.boot_id));
    let Some(Liveness::Dead(death)) = death.filter(|_| is_pods) else { return Ok(()) };
    tracing::info!(container = %key.container_id, ifname = %key.ifname, reason = %death, "reaping");
    let patience = Patience { each: DEL_PATIENCE, until: budget.lock().max(Instant::now()) };
    undo(session, &mut locked, &entry, boot, patience, Teller::Nobody)
}

fn undo(
    session: &Session<'_>,
    locked: &mut LockedAttachment<'_>,
    entry: &Entry,
    boot: &BootId,
    patience: Patience,
    teller: Teller,
) -> Result<(), Failure> {
    let tombstone = tear_down(session, locked, entry, boot, Scope::whole(entry, patience, teller))?;
    // A release that fails is sent again by later calls.
    let _ = release::send(session, tombstone, Instant::now() + RELEASE_PATIENCE / 2);
    Ok(())
}
