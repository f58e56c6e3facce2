//! Entries of the ledger whose sandbox is dead, or whose ADD died.

use std::time::Instant;

use knap_protocol::{AttachmentKey, BootId, LedgerState, ReapSummary};

use super::failed;
use crate::delegate::Patience;
use crate::failure::Failure;
use crate::ledger::{Entry, LedgerError, LockedAttachment};
use crate::liveness::{self, Liveness};
use crate::release;
use crate::session::{DEL_PATIENCE, RELEASE_PATIENCE, Session};
use crate::teardown::{Scope, Teller, tear_down};

/// Looks at every entry under its lock, and tears down no more after `until`: delegates that hang must not keep all else from
/// its turn, now or at the next reap.
pub(super) fn tear_down_dead(
    session: &Session<'_>,
    boot: &BootId,
    until: Instant,
    summary: &mut ReapSummary,
) -> Result<(), Failure> {
    let mut left = 0;
    for key in session.ledger.keys_by_age()? {
        match look_at(session, &key, boot, until, summary) {
            Ok(Look::Done) => {}
            Ok(Look::Left) => left += 1,
            Err(failure) => failed(summary, format_args!("{}/{}: {failure}", key.container_id, key.ifname)),
        }
    }
    if left > 0 {
        failed(
            summary,
            format_args!("{left} dead attachments are left to the next reap: others took all the time"),
        );
    }
    Ok(())
}

/// What a look at an entry came to.
enum Look {
    /// Nothing is left to do.
    Done,
    /// It is dead, and there was no time to tear it down.
    Left,
}

fn look_at(
    session: &Session<'_>,
    key: &AttachmentKey,
    boot: &BootId,
    until: Instant,
    summary: &mut ReapSummary,
) -> Result<Look, Failure> {
    let Some(mut locked) = lock(session, key, summary)? else { return Ok(Look::Done) };
    let entry = match locked.read() {
        Ok(None) => return Ok(Look::Done),
        Ok(Some(entry)) => entry,
        // It is in the folder of corrupt files now, which is looked at next.
        Err(error @ LedgerError::Corrupt { .. }) => {
            tracing::error!(%error, "put aside");
            return Ok(Look::Done);
        }
        Err(other) => return Err(other.into()),
    };
    summary.entries += 1;
    match reason_to_end(&entry, boot, summary) {
        None => Ok(Look::Done),
        Some(_) if Instant::now() >= until => Ok(Look::Left),
        Some(reason) => {
            // The others come first next time. Where that can't be noted, it merely does again.
            let _ = locked.touch();
            end(session, &mut locked, &entry, boot, &reason, summary).map(|()| Look::Done)
        }
    }
}

/// An attachment's lock, unless another call holds it.
pub(super) fn lock<'a>(
    session: &'a Session<'_>,
    key: &AttachmentKey,
    summary: &mut ReapSummary,
) -> Result<Option<LockedAttachment<'a>>, Failure> {
    match session.ledger.lock(key, Instant::now()) {
        Ok(locked) => Ok(Some(locked)),
        Err(LedgerError::Busy { .. }) => {
            summary.busy += 1;
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

fn reason_to_end(entry: &Entry, boot: &BootId, summary: &mut ReapSummary) -> Option<String> {
    // Its lock is ours, so its ADD runs no more, and nobody was told that it succeeded.
    if entry.state == LedgerState::Adding {
        return Some("its ADD died".to_owned());
    }
    let liveness = match &entry.netns {
        Some(netns) => liveness::of(netns, boot, &entry.boot_id),
        None => Liveness::Alive,
    };
    match liveness {
        Liveness::Dead(death) => Some(death.to_string()),
        Liveness::Alive => {
            summary.alive += 1;
            None
        }
        Liveness::Unknown(doubt) => {
            tracing::debug!(container = %entry.key.container_id, %doubt, "left alone");
            summary.unknown += 1;
            None
        }
    }
}

/// Undoes an entry, and tells the resolver.
pub(super) fn end(
    session: &Session<'_>,
    locked: &mut LockedAttachment<'_>,
    entry: &Entry,
    boot: &BootId,
    reason: &str,
    summary: &mut ReapSummary,
) -> Result<(), Failure> {
    tracing::info!(
        container = %entry.key.container_id, ifname = %entry.key.ifname, network = %entry.network, reason,
        "tearing down"
    );
    let patience = Patience { each: DEL_PATIENCE, until: Instant::now() + DEL_PATIENCE * 2 };
    let tombstone = tear_down(session, locked, entry, boot, Scope::whole(entry, patience, Teller::Nobody))?;
    summary.torn_down += 1;
    // While the resolver is away, each would wait for it again: the first failure leaves the rest to the flush.
    if summary.tombstones == 0 {
        match release::send(session, tombstone, Instant::now() + RELEASE_PATIENCE) {
            Ok(release::Release::Confirmed) => summary.released += 1,
            Ok(release::Release::Again) => {}
            Err(_) => summary.tombstones += 1,
        }
    }
    Ok(())
}
