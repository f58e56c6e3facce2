//! ADD: asks the resolver, writes down what it answers, and runs it; whole, or nothing is left.

mod attempt;
mod before;
mod request;

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::Answer;
use crate::budget::Budget;
use crate::cni_args::CniArgs;
use crate::config::Config;
use crate::environment::Command;
use crate::failure::Failure;
use crate::netns::Netns;
use crate::release;
use crate::session::{Process, Session};
use attempt::Attempted;
use request::Wish;

pub(super) use request::args_cni;

/// How many old tombstones an ADD sends before its own question.
const FLUSH: usize = 8;

pub(super) fn run(process: &Process<'_>, config: &Config) -> Result<Answer, Failure> {
    let call = process.environment.call(Command::Add)?;
    let args = CniArgs::parse(&call.cni_args)?;
    let wish = Wish::new(config, &call, &args)?;
    let netns = Netns::open(Path::new(&call.netns))?;
    let session = Session::open(process)?;
    let boot = session.boot()?;
    session.ledger.enter(&boot)?;
    let budget = Budget::new(process.started, session.add_timeout());

    let mut locked = session.ledger.lock(&call.key, budget.lock())?;
    before::make_way(&session, &mut locked, &netns, &boot, &budget)?;
    before::reap_dead_sandboxes(&session, &call.key, wish.pod.as_ref(), &boot, &budget);
    let flushing = Instant::now();
    release::flush(&session, FLUSH, budget.flush());
    let patience = budget.question(flushing.elapsed());

    let entry = wish.intent(session.ledger.new_attempt()?, netns.identity().clone(), boot, patience);
    let mut attempted = Attempted::begin(&session, &mut locked, entry, budget)?;
    let request = wish.request(attempted.entry());
    attempted.ask(&request, patience)?;
    let result = attempted.build()?;
    drop(locked);

    tracing::info!(
        container = %call.key.container_id, ifname = %call.key.ifname, network = %request.network,
        milliseconds = process.started.elapsed().as_millis(), "attached"
    );
    Ok(Answer::result(Value::Object(result).to_string()))
}
