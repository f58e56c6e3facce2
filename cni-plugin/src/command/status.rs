//! STATUS: could an ADD be served now?

use std::time::Instant;

use knap_protocol::CniCode;

use super::Answer;
use super::gc::of_network;
use crate::config::Config;
use crate::delegate::{Upkeep, distinct};
use crate::environment::Command;
use crate::failure::Failure;
use crate::session::{Process, RELEASE_PATIENCE, Session};
use crate::version::CniVersion;

pub(super) fn run(process: &Process<'_>, config: &Config) -> Result<Answer, Failure> {
    config.require("STATUS", CniVersion::V1_1_0)?;
    let session = Session::open(process)?;
    let unavailable = |why: String| Failure::new(CniCode::NOT_AVAILABLE, why);
    session.ledger.probe().map_err(|error| unavailable(format!("no attachment can be made: {error}")))?;
    let status = session
        .resolver
        .status(Instant::now() + RELEASE_PATIENCE)
        .map_err(|error| unavailable(format!("no attachment can be made: {error}")))?;
    if !status.ready {
        return Err(unavailable(
            "no attachment can be made: the resolver is not ready; see its log".to_owned(),
        ));
    }
    let entries = of_network(&session, &config.name)?;
    let delegates = session.delegates(entries.first());
    let upkeep = Upkeep {
        delegates: &delegates,
        environment: session.environment,
        name: &config.name,
        version: config.version,
        deadline: Instant::now() + session.add_timeout(),
    };
    match Failure::all_of(upkeep.run(Command::Status, &distinct(&entries, &config.name), None)) {
        Some(failure) => Err(failure),
        None => Ok(Answer::quiet()),
    }
}
