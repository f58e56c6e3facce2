//! Telling the resolver what is torn down, now or later.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use knap_client::ResolverError;

use crate::fault;
use crate::ledger::{LedgerError, Tombstone};
use crate::session::Session;

/// No ADD's question is waited for so long. Seconds.
const LONGEST_QUESTION: u64 = 60;

/// Whether a tombstone has served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The resolver has confirmed it, and it is gone.
    Confirmed,
    /// The resolver has confirmed it, but the ADD's question may still be at work there: it is sent again after that.
    Again,
}

/// A release that could not be told, or not be forgotten. Later calls send it again.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The resolver has not confirmed it.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// Its file can't be read, or not be removed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl ReleaseError {
    /// Whether any other release would fail alike, and the resolver need not be asked again now.
    pub fn is_for_all(&self) -> bool {
        matches!(self, Self::Resolver(error) if error.cause.is_of_every_call())
    }
}

/// What became of several tombstones.
#[derive(Debug, Default)]
pub struct Flushed {
    /// How many are gone.
    pub confirmed: usize,
    /// How many wait.
    pub left: usize,
    /// Why.
    pub errors: Vec<ReleaseError>,
    /// Whether it was no use to go on.
    pub resolver_is_away: bool,
}

/// Sends one release, and removes its tombstone once nothing can come after it.
pub fn send(session: &Session<'_>, tombstone: Tombstone, until: Instant) -> Result<Release, ReleaseError> {
    let settled = is_settled(session, &tombstone);
    confirm(session, &tombstone, until)?;
    if !settled {
        return Ok(Release::Again);
    }
    fault::point("release.confirmed");
    tombstone.remove()?;
    Ok(Release::Confirmed)
}

/// Sends up to `limit` releases that wait, or as many as it can until the resolver is away. One that it refuses holds up no
/// other.
pub fn flush(session: &Session<'_>, limit: usize, until: Instant) -> Flushed {
    let mut flushed = Flushed::default();
    let tombstones = match session.ledger.tombstones() {
        Ok(tombstones) => tombstones,
        Err(error) => {
            flushed.errors.push(error.into());
            return flushed;
        }
    };
    let mut sent = 0;
    for tombstone in tombstones {
        let tombstone = match tombstone {
            Ok(tombstone) => tombstone,
            Err(error) => {
                flushed.errors.push(error.into());
                continue;
            }
        };
        let is_over = sent >= limit || flushed.resolver_is_away || Instant::now() >= until;
        if is_over || !is_settled(session, &tombstone) {
            flushed.left += 1;
            continue;
        }
        sent += 1;
        match send(session, tombstone, until) {
            Ok(Release::Confirmed) => flushed.confirmed += 1,
            Ok(Release::Again) => flushed.left += 1,
            Err(error) => {
                flushed.left += 1;
                flushed.resolver_is_away = error.is_for_all();
                flushed.errors.push(error);
            }
        }
    }
    flushed
}

fn confirm(session: &Session<'_>, tombstone: &Tombstone, until: Instant) -> Result<(), ResolverError> {
    let entry = tombstone.entry();
    session.resolver.release(&entry.key, &entry.attempt, &entry.leases, until).inspect_err(|error| {
        tracing::warn!(
            container = %entry.key.container_id, ifname = %entry.key.ifname, network = %entry.network, %error,
            "not yet released; a later call will"
        );
    })
}

/// Whether the question that the attachment began with can't come to anything any more.
fn is_settled(session: &Session<'_>, tombstone: &Tombstone) -> bool {
    let Some(deadline) = tombstone.entry().put_deadline else { return true };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    is_over(deadline, now) || session.boot().is_ok_and(|boot| boot != tombstone.entry().boot_id)
}

/// No question has a deadline so far ahead: then the clock was put back since. Should its lease still come to be, reconciliation
/// finds that nobody holds it.
fn is_over(deadline: u64, now: u64) -> bool {
    deadline < now || deadline > now + LONGEST_QUESTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_put_back_does_not_keep_a_tombstone() {
        const DAY: u64 = 24 * 3600;
        let asked = 20_000 * DAY;
        assert!(!is_over(asked + 10, asked) && !is_over(asked + 10, asked + 10), "it may still come");
        assert!(is_over(asked + 10, asked + 11));
        assert!(is_over(asked + 10, asked + DAY) && is_over(asked + 10, asked - DAY) && is_over(asked, 0));
        // Put back by less than a question may take, it is waited for so much longer at most.
        assert!(is_over(asked + 10, asked - 20 + LONGEST_QUESTION));
    }
}
