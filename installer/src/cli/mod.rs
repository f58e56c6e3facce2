//! The command line.

mod agent;
mod host_paths;
mod plugin;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use knap_protocol::NodeFile;

pub use agent::Agent;
pub use host_paths::HostPaths;
pub use plugin::PluginSettings;

/// Puts Knap's CNI plugin on this node, keeps it honest, and takes it away again.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// Where things are on the host.
    #[command(flatten)]
    pub paths: HostPaths,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install or upgrade the plugin and write its node file. Repeatable: puts right what is not.
    Install(Install),
    /// Look after this node until SIGTERM: what `install` does, kept right; the node's token, its inventory, `knap reap`.
    Agent(Box<Agent>),
    /// Put the version before the last install back.
    Rollback,
    /// Remove all that Knap put on this host, but for a log; refused while attachments are left.
    Uninstall {
        /// Also while attachments are still in the ledger; what they made on the host then stays.
        #[arg(long)]
        force: bool,
    },
    /// Run a program of the host in the host's root.
    #[command(hide = true)]
    InRoot {
        /// The host's root.
        root: PathBuf,
        /// The program, on the host.
        program: PathBuf,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// What the plugin has to know.
#[derive(Debug, clap::Args)]
pub struct Install {
    /// How to install the plugin.
    #[command(flatten)]
    pub plugin: PluginSettings,
    /// The resolver's URL; may be given several times, and is tried in order.
    #[arg(long = "endpoint", required = true)]
    endpoints: Vec<String>,
    /// The file that holds the bearer token.
    #[arg(long)]
    token_file: PathBuf,
    /// PEM of the authority that signed the resolver's certificate; needed for https.
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

impl Install {
    /// The node file that these arguments describe.
    pub fn node_file(&self, paths: &HostPaths) -> NodeFile {
        self.plugin.node_file(paths, &self.endpoints, self.ca_file.clone(), self.token_file.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    fn flags(text: &str) -> BTreeSet<String> {
        let words = text.split(|letter: char| letter != '-' && !letter.is_ascii_alphanumeric());
        let flags = words.filter_map(|word| word.strip_prefix("--"));
        flags.filter(|flag| flag.starts_with(char::is_alphabetic)).map(str::to_owned).collect()
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_agents_flags_are_those_of_the_document() {
        let mut program = Arguments::command();
        program.build();
        let agent = program.find_subcommand("agent").unwrap();
        let shown = agent.get_arguments().filter(|argument| !argument.is_hide_set());
        let shown: BTreeSet<String> =
            shown.filter_map(|argument| argument.get_long()).map(str::to_owned).collect();
        let document = include_str!("../../../docs/node.md");
        let untold: Vec<_> = shown.difference(&flags(document)).cloned().collect();
        assert_eq!(untold, ["help"], "not in docs/node.md");
        let rows: String = document.lines().filter(|line| line.starts_with("| `--")).collect();
        let unknown: Vec<_> = flags(&rows).difference(&shown).cloned().collect();
        assert!(unknown.is_empty(), "in docs/node.md, and no flags of the agent: {unknown:?}");
    }
}
