//! `knap reap`: removes what is dead. Run by the node agent or a timer, never by a runtime.

mod entries;
mod reconcile;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use knap_protocol::BootId;
use serde::Serialize;

use super::Answer;
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::release;
use crate::salvage::{self, Salvage};
use crate::session::{Process, RELEASE_PATIENCE, Session};

/// How long tombstones are sent.
const FLUSH_PATIENCE: Duration = Duration::from_secs(60);

/// What a reap did, and what it could not do. One line of JSON on standard output.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    /// Entries looked at.
    entries: usize,
    /// Of those, the ones whose sandbox lives.
    alive: usize,
    /// Of those, the ones of which nothing is certain; left alone.
    unknown: usize,
    /// Of those, the ones that another call holds; left to it.
    busy: usize,
    /// Entries undone.
    torn_down: usize,
    /// Releases that the resolver has confirmed.
    released: usize,
    /// Releases that wait.
    tombstones: usize,
    /// Corrupt files settled.
    salvaged: usize,
    /// Corrupt files whose attachment may still live.
    corrupt: usize,
    /// Where they are.
    corrupt_files: Vec<PathBuf>,
    /// Leases without an attachment that were given back.
    suspects_released: usize,
    /// Attachments asserted again.
    reasserted: usize,
    /// What failed.
    failures: Vec<String>,
}

impl Summary {
    fn failed(&mut self, what: impl std::fmt::Display) {
        let what = what.to_string();
        tracing::warn!("{what}");
        self.failures.push(what);
    }

    /// Whether nothing remains that should not.
    fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.tombstones == 0
    }

    fn answer(&self) -> Answer {
        // A struct of numbers and strings always has a JSON form.
        let line = serde_json::to_string(self).unwrap_or_default();
        Answer { stdout: format!("{line}\n"), stderr: String::new(), success: self.is_clean() }
    }
}

pub(super) fn run(process: &Process<'_>) -> Answer {
    let mut summary = Summary::default();
    if let Err(failure) = reap(process, &mut summary) {
        summary.failed(failure);
    }
    summary.answer()
}

fn reap(process: &Process<'_>, summary: &mut Summary) -> Result<(), Failure> {
    let session = Session::open(process)?;
    let boot = session.boot()?;
    if let Err(error) = session.ledger.enter(&boot) {
        summary.failed(error);
    }
    entries::tear_down_dead(&session, &boot, summary)?;
    // One call that fails is enough to know that the resolver is away.
    let mut resolver_answers = salvage_all(&session, &boot, summary)?;
    if resolver_answers {
        resolver_answers = flush(&session, summary);
    }
    if resolver_answers {
        reconcile::run(&session, &boot, summary)?;
    }
    summary.tombstones = tombstones(&session.ledger)?;
    for error in session.links.sweep(&session.ledger) {
        summary.failed(error);
    }
    for error in session.ledger.sweep() {
        summary.failed(error);
    }
    Ok(())
}

/// Settles the files that were put aside. False where the resolver could not be told.
fn salvage_all(session: &Session<'_>, boot: &BootId, summary: &mut Summary) -> Result<bool, Failure> {
    for file in session.ledger.corrupt()? {
        let path = file.path().to_owned();
        if let Some(key) = &file.remains().key
            && session.ledger.peek(key).is_ok_and(|entry| entry.is_none())
        {
            for error in session.links.release_all(key) {
                summary.failed(error);
            }
        }
        match salvage::settle(session, file, None, boot, Instant::now() + RELEASE_PATIENCE) {
            Ok(Salvage::Settled) => summary.salvaged += 1,
            Ok(Salvage::Kept) => {
                summary.corrupt += 1;
                summary.corrupt_files.push(path);
            }
            Err(failure) => {
                summary.failed(failure);
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Sends the releases that wait. False where the resolver could not be told.
fn flush(session: &Session<'_>, summary: &mut Summary) -> bool {
    let flushed = release::flush(session, usize::MAX, Instant::now() + FLUSH_PATIENCE);
    summary.released += flushed.confirmed;
    let told = flushed.errors.is_empty();
    for failure in flushed.errors {
        summary.failed(failure);
    }
    told
}

fn tombstones(ledger: &Ledger) -> Result<usize, Failure> {
    Ok(ledger.tombstones()?.count())
}
