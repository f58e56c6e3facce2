//! `knap reap`: removes what is dead. Run by the node agent or a timer, never by a runtime.

mod entries;
mod reconcile;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use knap_protocol::{BootId, ReapSummary};

use super::Answer;
use crate::failure::Failure;
use crate::release;
use crate::salvage::{self, Salvage};
use crate::session::{Process, RELEASE_PATIENCE, Session};

/// How long teardowns are begun. With the last one's delegates, and all that follows, a reap ends before its agent loses
/// patience.
const TEARDOWN_PATIENCE: Duration = Duration::from_secs(240);

/// How long tombstones are sent.
const FLUSH_PATIENCE: Duration = Duration::from_secs(60);

/// So many failures are told. The log has all.
const TOLD: usize = 50;

/// Notes what could not be done, and goes on.
fn failed(summary: &mut ReapSummary, what: impl std::fmt::Display) {
    let what = what.to_string();
    tracing::warn!("{what}");
    summary.failures.push(what);
}

pub(super) fn run(process: &Process<'_>) -> Answer {
    let mut summary = ReapSummary::default();
    if let Err(failure) = reap(process, TEARDOWN_PATIENCE, &mut summary) {
        failed(&mut summary, failure);
    }
    shorten(&mut summary.failures);
    // A struct of numbers and strings always has a JSON form.
    let line = serde_json::to_string(&summary).unwrap_or_default();
    Answer { stdout: format!("{line}\n"), stderr: String::new(), success: summary.is_clean() }
}

/// Leaves room for the rest of the line, however much has failed.
fn shorten(failures: &mut Vec<String>) {
    let more = failures.len().saturating_sub(TOLD);
    if more > 0 {
        failures.truncate(TOLD);
        failures.push(format!("{more} more failures, which the log has"));
    }
}

fn reap(process: &Process<'_>, patience: Duration, summary: &mut ReapSummary) -> Result<(), Failure> {
    let session = Session::open(process)?;
    // Where it can't be held, what is to be done is to be done all the same.
    let at_work = session.ledger.at_work().unwrap_or_else(|error| {
        failed(summary, error);
        None
    });
    let done = look_through(&session, patience, summary);
    if let Some(lock) = at_work {
        // The next one takes over a file that stays.
        let _ = lock.remove();
    }
    done
}

fn look_through(session: &Session<'_>, patience: Duration, summary: &mut ReapSummary) -> Result<(), Failure> {
    let boot = session.boot()?;
    if let Err(error) = session.ledger.enter(&boot) {
        failed(summary, error);
    }
    entries::tear_down_dead(session, &boot, Instant::now() + patience, summary)?;
    // One call that fails is enough to know that the resolver is away.
    let mut resolver_answers = salvage_all(session, &boot, summary)?;
    if resolver_answers {
        resolver_answers = flush(session, summary);
    }
    if resolver_answers {
        reconcile::run(session, &boot, summary)?;
    }
    summary.tombstones = session.ledger.count_tombstones()?;
    for error in session.links.sweep(&session.ledger) {
        failed(summary, error);
    }
    for error in session.ledger.sweep() {
        failed(summary, error);
    }
    Ok(())
}

/// Settles the files that were put aside; what a settled one used of the host's links is left to the sweep. False where the
/// resolver is away.
fn salvage_all(session: &Session<'_>, boot: &BootId, summary: &mut ReapSummary) -> Result<bool, Failure> {
    for file in session.ledger.corrupt()? {
        let path = file.path().to_owned();
        match salvage::settle(session, file, None, boot, Instant::now() + RELEASE_PATIENCE) {
            Ok(Salvage::Settled) => summary.salvaged += 1,
            Ok(Salvage::Kept) => {
                summary.corrupt += 1;
                summary.corrupt_files.push(path);
            }
            Err(error) => {
                let is_away = error.is_for_all();
                failed(summary, error);
                if is_away {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// Sends the releases that wait. False where the resolver is away.
fn flush(session: &Session<'_>, summary: &mut ReapSummary) -> bool {
    let flushed = release::flush(session, usize::MAX, Instant::now() + FLUSH_PATIENCE);
    summary.released += flushed.confirmed;
    for error in flushed.errors {
        failed(summary, error);
    }
    !flushed.resolver_is_away
}
