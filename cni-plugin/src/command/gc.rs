//! GC: undoes every attachment of the network that the runtime does not list.

use std::time::Instant;

use knap_protocol::{AttachmentKey, BootId};

use super::Answer;
use crate::config::Config;
use crate::delegate::{Patience, Upkeep, distinct};
use crate::environment::Command;
use crate::failure::Failure;
use crate::ledger::Entry;
use crate::release;
use crate::session::{DEL_PATIENCE, Process, RELEASE_PATIENCE, Session};
use crate::teardown::{Scope, Teller, tear_down};
use crate::valid_attachments::ValidAttachments;
use crate::version::CniVersion;

/// How many old tombstones a GC sends.
const FLUSH: usize = 64;

pub(super) fn run(process: &Process<'_>, config: &Config) -> Result<Answer, Failure> {
    config.require("GC", CniVersion::V1_1_0)?;
    let Some(valid) = config.valid_attachments()?.filter(|_| !config.switch("disableGC")) else {
        return Ok(Answer::quiet());
    };
    let session = Session::open(process)?;
    let entries = of_network(&session, &config.name)?;
    let plugins = distinct(&entries, &config.name);
    let mut failures = collect(&session, &entries, &valid)?;

    let delegates = session.delegates(entries.first());
    let upkeep = Upkeep {
        delegates: &delegates,
        environment: session.environment,
        name: &config.name,
        version: config.version,
        deadline: Instant::now() + DEL_PATIENCE,
    };
    failures.extend(upkeep.run(Command::Gc, &plugins, Some(valid.items())));
    release::flush(&session, FLUSH, Instant::now() + RELEASE_PATIENCE);
    match Failure::all_of(failures) {
        Some(failure) => Err(failure),
        None => Ok(Answer::quiet()),
    }
}

/// The network's entries. One that can't be read is another command's to put aside.
pub(super) fn of_network(session: &Session<'_>, name: &str) -> Result<Vec<Entry>, Failure> {
    let keys = session.ledger.keys()?;
    let entries = keys.iter().filter_map(|key| match session.ledger.peek(key) {
        Ok(entry) => entry,
        Err(error) => {
            tracing::warn!(%error, "passed over");
            None
        }
    });
    Ok(entries.filter(|entry| entry.config_name == name).collect())
}

/// Undoes what is not valid. Goes on past errors and returns them all.
fn collect(
    session: &Session<'_>,
    entries: &[Entry],
    valid: &ValidAttachments,
) -> Result<Vec<Failure>, Failure> {
    let boot = session.boot()?;
    let garbage = entries.iter().map(|entry| &entry.key).filter(|key| !valid.contains(key));
    Ok(garbage.filter_map(|key| undo(session, key, &boot).err()).collect())
}

fn undo(session: &Session<'_>, key: &AttachmentKey, boot: &BootId) -> Result<(), Failure> {
    let mut locked = session.lock_after_add(key)?;
    let Some(entry) = locked.read()? else { return Ok(()) };
    let patience = Patience { each: DEL_PATIENCE, until: Instant::now() + DEL_PATIENCE * 2 };
    let tombstone =
        tear_down(session, &mut locked, &entry, boot, Scope::whole(&entry, patience, Teller::Runtime))?;
    tracing::info!(container = %key.container_id, ifname = %key.ifname, network = %entry.network, "collected");
    // A release that fails is sent again by later calls.
    let _ = release::send(session, tombstone, Instant::now() + RELEASE_PATIENCE);
    Ok(())
}
