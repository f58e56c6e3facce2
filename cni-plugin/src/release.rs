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

/// So many failures show that the resolver can't do it now; its store is away, say.
const MOST_FAILURES: usize = 50;

/// What became of several tombstones.
#[derive(Debug, Default)]
pub struct Flushed {
    /// How many are gone.
    pub confirmed: usize,
    /// Why others are not.
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

/// Looks at up to `limit` releases that wait, and sends those whose time has come, or as many as it can until the resolver is
/// away. One that it refuses holds up no other. Thousands may wait: the rest are not so much as read.
pub fn flush(session: &Session<'_>, limit: usize, until: Instant) -> Flushed {
    let mut flushed = Flushed::default();
    let tombstones = match session.ledger.tombstones() {
        Ok(tombstones) => tombstones,
        Err(error) => {
            flushed.errors.push(error.into());
            return flushed;
        }
    };
    for tombstone in tombstones.take(limit) {
        let released = match tombstone {
            Ok(tombstone) if !is_settled(session, &tombstone) => Ok(Release::Again),
            Ok(tombstone) => send(session, tombstone, until),
            Err(error) => Err(error.into()),
        };
        match released {
            Ok(Release::Confirmed) => flushed.confirmed += 1,
            Ok(Release::Again) => {}
            Err(error) => {
                flushed.resolver_is_away = error.is_for_all();
                flushed.errors.push(error);
            }
        }
        let is_no_use = flushed.resolver_is_away || flushed.errors.len() >= MOST_FAILURES;
        if is_no_use || Instant::now() >= until {
            break;
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
    use crate::delegate::testing::Fake;
    use crate::fixture::{Node, key};
    use crate::ledger::{Ledger, entry_for_tests};

    /// Leaves so many tombstones.
    fn tombstones(ledger: &Ledger, count: usize) {
        for number in 0..count {
            let key = key(&format!("c{number}"), "net1");
            let mut locked = ledger.lock(&key, Instant::now()).unwrap();
            locked.to_tombstone(&entry_for_tests(&key)).unwrap();
        }
    }

    fn soon() -> Instant {
        Instant::now() + std::time::Duration::from_secs(20)
    }

    #[test]
    fn a_tombstone_is_read_when_its_turn_comes() {
        let (node, exec) = (Node::start(|_| (204, "")), Fake::new(&[]));
        let session = node.session(&exec);
        tombstones(&session.ledger, 10);
        for name in node.names("releasing") {
            std::fs::write(node.state_dir().join("releasing").join(name), "{").unwrap();
        }
        let flushed = flush(&session, 4, soon());
        assert_eq!((flushed.errors.len(), node.names("corrupt").len()), (4, 4));
        assert_eq!(session.ledger.count_tombstones().unwrap(), 6, "counted, not read");
        flush(&session, 4, Instant::now());
        assert_eq!(session.ledger.count_tombstones().unwrap(), 5, "its time is over");
        assert_eq!(node.asked().len(), 0);
    }

    #[test]
    fn a_resolver_that_can_not_release_is_not_asked_for_each_of_thousands() {
        const REFUSAL: &str = r#"{"type": "about:blank", "title": "Unavailable", "status": 503, "detail": "the store is away",
            "id": "d-1", "cniCode": 11, "retryable": true}"#;
        let (node, exec) = (Node::start(|_| (503, REFUSAL)), Fake::new(&[]));
        let session = node.session(&exec);
        tombstones(&session.ledger, MOST_FAILURES + 10);
        let flushed = flush(&session, usize::MAX, soon());
        assert_eq!((flushed.errors.len(), flushed.resolver_is_away), (MOST_FAILURES, false));
        assert_eq!(node.asked().len(), MOST_FAILURES);
    }

    #[test]
    fn those_that_are_refused_do_not_always_come_first() {
        let (node, exec) = (Node::start(|_| (204, "")), Fake::new(&[]));
        let session = node.session(&exec);
        tombstones(&session.ledger, 40);
        let first = || {
            let first = session.ledger.tombstones().unwrap().next().unwrap().unwrap();
            first.entry().key.container_id.to_string()
        };
        assert!((0..40).map(|_| first()).collect::<std::collections::BTreeSet<_>>().len() > 1);
    }

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
