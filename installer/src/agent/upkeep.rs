//! The plugin and its files: installed, upgraded, put right.

use std::time::Duration;

use super::authority;
use super::board::{Part, Problem};
use super::namespaces::Namespaces;
use super::node::Node;
use super::signals::{Duty, Woken};
use super::status::StatusProbe;
use crate::file_stamp::FileStamp;
use crate::node_file::{self, NodeFileError};
use crate::plugin_binary::{self, BinaryError, PluginBinary};
use crate::replace::{self, Outcome};

/// Between tries of a plugin that does not run here, at most: each writes it anew.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Removes what an agent that died in the middle of a file left beside it. Before any other part writes one.
pub(super) fn sweep(node: &Node) {
    node.paths.plugin().sweep();
    for file in node.paths.kept_files() {
        replace::sweep(&node.here(&file));
    }
}

/// Looks at everything, again and again.
pub(crate) fn run(node: &Node) {
    let mut upkeep = Upkeep::new(node);
    loop {
        upkeep.look();
        node.looked();
        if node.signals.wait(Duty::Upkeep, node.interval()) == Woken::ToEnd {
            return;
        }
    }
}

/// What is remembered from one look to the next.
struct Upkeep<'a> {
    node: &'a Node,
    plugin: PluginBinary,
    settled: Option<Settled>,
    /// How often in a row the plugin to install did not run.
    failures: u32,
    namespaces: Namespaces,
    status: StatusProbe,
}

/// What was to be said of the plugin at a look, which is not to be looked at again.
struct Settled {
    /// The installed file, while it is the same.
    stamp: Option<FileStamp>,
    /// Since boot, where it is not for good.
    until: Option<Duration>,
    problems: Vec<Problem>,
}

impl<'a> Upkeep<'a> {
    fn new(node: &'a Node) -> Self {
        Self {
            node,
            plugin: node.paths.plugin(),
            settled: None,
            failures: 0,
            namespaces: Namespaces::default(),
            status: StatusProbe::default(),
        }
    }

    fn look(&mut self) {
        let node = self.node;
        let (node_file, ledger) = self.node_file();
        node.board.set(Part::NodeFile, node_file);
        node.board.set(Part::Ledger, ledger);
        node.board.set(Part::Authority, authority::look(node));
        let plugin = self.plugin();
        node.board.set(Part::Plugin, plugin);
        node.board.set(Part::Namespaces, self.namespaces.look(node));
        self.status.look(node);
    }

    /// Problems of the file, and of the ledger. One that stays where it was is served, and reaped: or it would stay for ever.
    fn node_file(&mut self) -> (Vec<Problem>, Vec<Problem>) {
        match node_file::ensure(&self.node.paths, &self.node.file, &node_file::grace) {
            Ok(Outcome::Unchanged) => (Vec::new(), Vec::new()),
            Ok(Outcome::Written) => {
                tracing::info!("{}: written", self.node.paths.node_file().display());
                self.status.forget();
                (Vec::new(), Vec::new())
            }
            Err(error @ NodeFileError::LedgerElsewhere { .. }) => {
                (Vec::new(), vec![Problem::blocks("LedgerElsewhere", error.to_string())])
            }
            Err(error) => (vec![Problem::blocks("NodeFileNotWritten", error.to_string())], Vec::new()),
        }
    }

    /// Reads and runs nothing while the installed file is the one that was seen last.
    fn plugin(&mut self) -> Vec<Problem> {
        let stamp = FileStamp::of(&self.plugin.path()).ok().flatten();
        let now = self.node.clock.since_boot();
        if let Some(settled) = &self.settled
            && settled.stamp == stamp
            && settled.until.is_none_or(|until| now < until)
        {
            return settled.problems.clone();
        }
        self.settled = None;
        self.status.forget();
        let source = match self.node.settings.plugin.source() {
            Ok(source) => source,
            Err(error) => return vec![Problem::blocks("PluginNotInstalled", format!("{error:#}"))],
        };
        let outcome = self.plugin.install(&source);
        if let Ok(outcome) = &outcome {
            tracing::info!("{}: {outcome}", self.plugin.on_host().display());
        }
        // One that could not be replaced still serves.
        let version = self.plugin.version();
        let (problems, is_settled) = judge(&outcome, &version);
        let version = version.ok().flatten();
        if version.is_some() && self.node.plugin_version().is_none() {
            self.node.signals.ring(Duty::Reap);
        }
        self.node.set_plugin_version(version);
        let does_not_run = matches!(outcome, Err(BinaryError::DoesNotRun { .. }));
        self.failures = if does_not_run { self.failures.saturating_add(1) } else { 0 };
        let pause = (self.node.interval() * (1 << self.failures.min(6))).min(LONGEST_PAUSE);
        if is_settled || does_not_run {
            // As it was before it was read: whatever has been done to it since is seen at the next look.
            let until = does_not_run.then(|| now + pause);
            self.settled = Some(Settled { stamp, until, problems: problems.clone() });
        }
        problems
    }
}

/// What is to be said of an install and of the version that the installed plugin said after it, and whether that stands as long as
/// the file does. What could not be run may run the next time.
fn judge(
    outcome: &Result<plugin_binary::Outcome, BinaryError>,
    version: &Result<Option<String>, BinaryError>,
) -> (Vec<Problem>, bool) {
    let not_installed = |reason: String| (vec![Problem::blocks("PluginNotInstalled", reason)], false);
    match (outcome, version) {
        // One that was just put there may have been changed since: it is looked at once more.
        (Ok(outcome), Ok(Some(_))) => (Vec::new(), *outcome == plugin_binary::Outcome::Unchanged),
        (Ok(_), Ok(None)) => not_installed(
            "what is installed does not say that it is Knap's plugin; name that with --plugin".to_owned(),
        ),
        (Err(error @ BinaryError::Foreign(_)), _) => {
            (vec![Problem::blocks("ForeignPlugin", error.to_string())], true)
        }
        (Err(error @ BinaryError::NoFolder(_)), _) => {
            (vec![Problem::blocks("PluginFolderMissing", error.to_string())], false)
        }
        (Err(error), _) | (_, Err(error)) => not_installed(error.to_string()),
    }
}
