//! Whether a pod could be attached now: the plugin is asked, as a runtime asks it.

use std::ffi::OsStr;
use std::time::Duration;

use serde::Deserialize;

use super::board::{Part, Problem};
use super::node::Node;
use super::plugin;
use super::signals::Duty;
use crate::program::{ProgramError, Said};

/// How long an answer of success is good for.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// How long the plugin may take; its own patience with the resolver is shorter.
const PATIENCE: Duration = Duration::from_secs(15);
/// A configuration of no Network: what is asked is whether any could be served.
const CONFIG: &str =
    r#"{"cniVersion": "1.1.0", "name": "knap-agent", "type": "knap", "network": "knap/agent"}"#;

/// The last answer.
#[derive(Debug, Default)]
pub(crate) struct StatusProbe {
    was_good: bool,
    /// Since boot.
    good_until: Duration,
}

/// The CNI error document.
#[derive(Deserialize)]
struct CniError {
    msg: String,
}

impl StatusProbe {
    /// Something has changed: the last answer is good for nothing.
    pub(crate) fn forget(&mut self) {
        self.good_until = Duration::ZERO;
    }

    /// Asks, unless the last answer is still good enough. When the resolver is back, all duties that it kept waiting go on.
    pub(crate) fn look(&mut self, node: &Node) {
        let now = node.clock.since_boot();
        if now < self.good_until {
            return;
        }
        // Without a plugin, its own problem says it all.
        let is_installed = node.plugin_version().is_some();
        let problems = if is_installed { ask(node) } else { Vec::new() };
        let is_good = is_installed && problems.is_empty();
        node.board.set(Part::Status, problems);
        self.good_until = if is_good { now + GOOD_FOR } else { Duration::ZERO };
        if is_good && !self.was_good {
            for duty in [Duty::Credential, Duty::Inventory, Duty::Reap] {
                node.signals.ring(duty);
            }
        }
        self.was_good = is_good;
    }
}

fn ask(node: &Node) -> Vec<Problem> {
    match plugin::call(node, &[], &[("CNI_COMMAND", OsStr::new("STATUS"))], CONFIG, PATIENCE) {
        Ok(said) if said.success => Vec::new(),
        Ok(said) => vec![Problem::blocks("StatusFails", message(&said))],
        Err(ProgramError::Stopped) => Vec::new(),
        Err(error) => vec![Problem::blocks("StatusFails", format!("the plugin's STATUS: {error}"))],
    }
}

fn message(said: &Said) -> String {
    match serde_json::from_str::<CniError>(&said.stdout) {
        Ok(error) => error.msg,
        Err(_) => format!("the plugin answered {:?} {:?}", said.stdout, said.stderr),
    }
}
