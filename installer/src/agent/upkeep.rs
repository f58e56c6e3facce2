//! The plugin and its files: installed, upgraded, put right.

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
    /// The state of the installed file at the last look, and what was to be said of it.
    settled: Option<(FileStamp, Vec<Problem>)>,
    namespaces: Namespaces,
    status: StatusProbe,
}

impl<'a> Upkeep<'a> {
    fn new(node: &'a Node) -> Self {
        Self {
            node,
            plugin: node.paths.plugin(),
            settled: None,
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
            Ok(Outcome::Unchanged) => {}
            Ok(Outcome::Written) => {
                tracing::info!("{}: written", self.node.paths.node_file().display());
                self.status.forget();
            }
            Err(error @ NodeFileError::LedgerElsewhere { .. }) => {
                return (Vec::new(), vec![Problem::blocks("LedgerElsewhere", error.to_string())]);
            }
            Err(error) => {
                return (vec![Problem::blocks("NodeFileNotWritten", error.to_string())], Vec::new());
            }
        }
        (Vec::new(), Vec::new())
    }

    /// Reads and runs nothing while the installed file is the one that was seen last.
    fn plugin(&mut self) -> Vec<Problem> {
        let path = self.plugin.path();
        let stamp = FileStamp::of(&path).ok().flatten();
        if let (Some(stamp), Some((settled, problems))) = (stamp, &self.settled)
            && stamp == *settled
        {
            return problems.clone();
        }
        self.settled = None;
        self.status.forget();
        let outcome = self.node.settings.plugin.source().map(|source| self.plugin.install(&source));
        let (problems, is_settled) = match outcome {
            Ok(Ok(outcome)) => {
                tracing::info!("{}: {outcome}", self.plugin.on_host().display());
                // One that was just put there may have been changed since: it is looked at once more.
                (Vec::new(), outcome == plugin_binary::Outcome::Unchanged)
            }
            // Not run again, as long as it is the same file.
            Ok(Err(error @ BinaryError::Foreign(_))) => {
                (vec![Problem::blocks("ForeignPlugin", error.to_string())], true)
            }
            Ok(Err(error @ BinaryError::NoFolder(_))) => {
                (vec![Problem::blocks("PluginFolderMissing", error.to_string())], false)
            }
            Ok(Err(error)) => (vec![Problem::blocks("PluginNotInstalled", error.to_string())], false),
            Err(error) => (vec![Problem::blocks("PluginNotInstalled", format!("{error:#}"))], false),
        };
        // One that could not be replaced still serves.
        let version = self.plugin.version();
        if version.is_some() && self.node.plugin_version().is_none() {
            self.node.signals.ring(Duty::Reap);
        }
        self.node.set_plugin_version(version);
        // As it was before it was read: whatever has been done to it since is seen at the next look.
        if is_settled && let Some(stamp) = stamp {
            self.settled = Some((stamp, problems.clone()));
        }
        problems
    }
}
