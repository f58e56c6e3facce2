//! DEL: undoes an attachment from the ledger alone. Repeatable; the resolver is told now or later.

use std::time::{Duration, Instant};

use super::Answer;
use crate::config::Config;
use crate::delegate::Patience;
use crate::environment::{Call, Command};
use crate::failure::Failure;
use crate::ledger::{LedgerError, LockedAttachment};
use crate::session::{DEL_PATIENCE, Process, RELEASE_PATIENCE, Session};
use crate::teardown::{Scope, Teller, tear_down};
use crate::{release, salvage};

/// How many old tombstones a DEL sends along with its own.
const FLUSH: usize = 4;

pub(super) fn run(process: &Process<'_>, _config: &Config) -> Result<Answer, Failure> {
    let call = process.environment.call(Command::Del)?;
    let session = Session::open(process)?;
    let mut locked = session.lock_after_add(&call.key)?;
    let resolver_answers = undo(&session, &mut locked, &call)?;
    drop(locked);
    if resolver_answers {
        release::flush(&session, FLUSH, Instant::now() + RELEASE_PATIENCE / 2);
    }
    Ok(Answer::quiet())
}

/// Undoes what the ledger has of the attachment. False where the resolver is away.
fn undo(session: &Session<'_>, locked: &mut LockedAttachment<'_>, call: &Call) -> Result<bool, Failure> {
    let entry = match locked.read() {
        Ok(None) => return Ok(true),
        Ok(Some(entry)) => entry,
        Err(corrupt @ LedgerError::Corrupt { .. }) => {
            tracing::error!(%corrupt, "nothing can be undone from this entry");
            let until = Instant::now() + RELEASE_PATIENCE;
            let failures =
                salvage::settle_attachment(session, &call.key, &call.netns, &session.boot()?, until);
            for failure in &failures {
                tracing::warn!(%failure, "`knap reap` will try again");
            }
            return Ok(failures.is_empty());
        }
        Err(other) => return Err(other.into()),
    };
    let until = Instant::now() + DEL_PATIENCE * u32::try_from(entry.plugins.len()).unwrap_or(u32::MAX).max(1);
    let teller = if call.netns.is_empty() { Teller::RuntimeWithoutNamespace } else { Teller::Runtime };
    let scope = Scope::whole(&entry, Patience { each: DEL_PATIENCE, until }, teller);
    let tombstone = tear_down(session, locked, &entry, &session.boot()?, scope)?;
    let released = release::send(session, tombstone, Instant::now() + RELEASE_PATIENCE);
    tracing::info!(
        container = %call.key.container_id, ifname = %call.key.ifname, network = %entry.network,
        released = released.is_ok(), milliseconds = milliseconds(session.started.elapsed()), "detached"
    );
    Ok(!released.is_err_and(|error| error.is_for_all()))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
