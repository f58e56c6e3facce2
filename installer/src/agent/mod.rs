//! The node agent: looks after one node until it is told to end (design: the node agent).
//!
//! A few threads, each with one duty and a pace of its own, so that a delegate that hangs in one does not keep another from
//! its work. They meet on the board, where each says what is wrong.

mod authority;
mod board;
mod clock;
mod credential;
mod health;
mod inventory;
mod jitter;
mod namespaces;
mod node;
mod plugin;
mod reap;
mod removal;
mod signals;
mod status;
mod upkeep;

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

pub(crate) use self::reap::INTERVAL as REAP_INTERVAL;
use crate::cli::{Agent, HostPaths};
use crate::lock::{LockError, NodeLock, this_process};
use board::{Part, Problem};
use inventory::Teller;
use node::Node;
use signals::{Duty, Woken};

/// How long the threads may take to end. What they can't finish, the next agent does.
const LAST_STEPS: Duration = Duration::from_secs(8);

/// Between tries to become this node's agent.
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// Looks after the node until SIGTERM or SIGINT.
pub(crate) fn run(paths: &HostPaths, settings: &Agent) -> anyhow::Result<()> {
    // Before any thread is there, so that none of them is interrupted: the signals wait for `wait` below.
    let mut ending = SigSet::empty();
    ending.add(Signal::SIGTERM);
    ending.add(Signal::SIGINT);
    ending.thread_block().context("can't set SIGTERM aside")?;
    let node = Arc::new(Node::new(paths, settings)?);
    let (sender, receiver) = mpsc::channel();
    let working = Arc::clone(&node);
    thread::spawn(move || {
        let _ = sender.send(work(&working));
        // One that ends by itself has failed: wakes the wait below.
        let _ = kill(Pid::this(), Signal::SIGTERM);
    });
    let signal = ending.wait().context("can't wait for SIGTERM")?;
    node.signals.stop();
    match receiver.recv_timeout(LAST_STEPS) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => {
            tracing::warn!("{signal}: not all was finished; the next agent goes on");
            Ok(())
        }
        Err(RecvTimeoutError::Disconnected) => bail!("a thread of the agent panicked"),
    }
}

/// All that the agent does, until it is told to end.
fn work(node: &Arc<Node>) -> anyhow::Result<()> {
    let Some(lock) = become_agent(node)? else { return Ok(()) };
    serve_health(node)?;
    tracing::info!(node = %node.file.node, version = env!("CARGO_PKG_VERSION"), "looks after this node");
    if node.settings.uninstall {
        removal::run(node, lock);
        return Ok(());
    }
    upkeep::sweep(node);
    thread::scope(|scope| {
        scope.spawn(|| upkeep::run(node));
        scope.spawn(|| credential::run(node));
        scope.spawn(|| inventory::run(node));
        scope.spawn(|| reap::run(node));
    });
    drop(lock);
    Ok(())
}

/// Waits until no other agent looks after this node. None: it is time to end.
fn become_agent(node: &Arc<Node>) -> anyhow::Result<Option<NodeLock>> {
    let path = node.here(&node.paths.lock_file());
    let mut teller = Teller::new(node);
    let mut said = String::new();
    let mut pause = Duration::ZERO;
    while node.signals.wait(Duty::Upkeep, pause) != Woken::ToEnd {
        pause = LOCK_PAUSE;
        match NodeLock::take(&path, &this_process()) {
            Ok(lock) => return Ok(Some(lock)),
            // Not served on /readyz: that address is the other one's.
            Err(error @ LockError::Held { .. }) if said != error.to_string() => {
                said = error.to_string();
                tracing::warn!("waits: {error}");
            }
            Err(LockError::Held { .. }) => {}
            Err(error @ LockError::Io { .. }) => {
                serve_health(node)?;
                node.looked();
                node.board.set(Part::NodeFile, vec![Problem::blocks("FolderUnusable", error.to_string())]);
                teller.tell_by_kept_token();
            }
        }
    }
    Ok(None)
}

/// Serves probes from now on, if it does not already.
fn serve_health(node: &Arc<Node>) -> anyhow::Result<()> {
    if node.begins_to_serve() {
        let listener = health::listen(node.settings.health_address)?;
        let node = Arc::clone(node);
        thread::spawn(move || health::serve(&listener, &node));
    }
    Ok(())
}
