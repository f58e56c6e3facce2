//! CHECK: are the delegates content with what ADD left? The resolver is not asked.

use std::path::Path;
use std::time::Instant;

use knap_protocol::{CniCode, LedgerState};
use serde_json::Value;

use super::Answer;
use crate::cni_result::CniResult;
use crate::config::{Config, ConfigError};
use crate::delegate::{Chain, Patience};
use crate::environment::Command;
use crate::failure::Failure;
use crate::ledger::Entry;
use crate::netns::Netns;
use crate::session::{Process, Session};
use crate::version::CniVersion;

pub(super) fn run(process: &Process<'_>, config: &Config) -> Result<Answer, Failure> {
    let call = process.environment.call(Command::Check)?;
    config.require("CHECK", CniVersion::V0_4_0)?;
    if config.switch("disableCheck") {
        return Ok(Answer::quiet());
    }
    Netns::open(Path::new(&call.netns))?;
    let session = Session::open(process)?;
    let until = Instant::now() + session.add_timeout();
    let mut locked = session.lock_after_add(&call.key)?;
    let Some(entry) = locked.read()?.filter(|entry: &Entry| entry.state == LedgerState::Attached) else {
        return Err(Failure::new(
            CniCode::NO_ENTRY,
            format!(
                "CHECK of {} in sandbox {}: the ledger has no such attachment; DEL it, and ADD it again",
                call.key.ifname, call.key.container_id
            ),
        ));
    };
    let prev = prev_result(config)?;
    let delegates = session.delegates(Some(&entry));
    let chain = Chain::new(&delegates, &entry, session.environment, call.netns.as_ref());
    chain.check(&prev, Patience { each: session.add_timeout(), until })?;
    Ok(Answer::quiet())
}

fn prev_result(config: &Config) -> Result<CniResult, Failure> {
    let Some(prev) = config.prev_result() else {
        return Err(
            ConfigError::Missing { key: "prevResult", remedy: "CHECK needs the result of ADD" }.into()
        );
    };
    CniResult::read(Value::Object(prev.clone()), config.version).map_err(|error| {
        Failure::new(CniCode::DECODE, format!("can't decode the configuration's prevResult: {error}"))
    })
}
