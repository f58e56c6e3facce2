//! The command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use knap_protocol::{Log, NodeFile, NodeName, ResolverAccess};

/// Puts Knap's CNI plugin on this node, and takes it away again.
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

/// Where things are on the host.
#[derive(Debug, Args)]
pub struct HostPaths {
    /// The folder that the container runtime searches for plugins.
    #[arg(long, global = true, default_value = "/opt/cni/bin")]
    pub bin_dir: PathBuf,
    /// The folder for the plugin's own configuration.
    #[arg(long, global = true, default_value = "/etc/cni/net.d/knap.d")]
    pub config_dir: PathBuf,
    /// The plugin's ledger.
    #[arg(long, global = true, default_value = "/var/lib/cni/knap")]
    pub state_dir: PathBuf,
}

impl HostPaths {
    /// The node file's place.
    pub fn node_file(&self) -> PathBuf {
        self.config_dir.join("node.json")
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install or upgrade the plugin and write its node file. Repeatable: puts right what is not.
    Install(Install),
    /// Put the version before the last install back.
    Rollback,
    /// Remove plugin, node file and empty ledger.
    Uninstall {
        /// Also while attachments are still in the ledger; what they made on the host then stays.
        #[arg(long)]
        force: bool,
    },
}

/// What the plugin has to know.
#[derive(Debug, Args)]
pub struct Install {
    /// The plugin to install; the `knap` beside this program where absent.
    #[arg(long)]
    plugin: Option<PathBuf>,
    /// This node's name.
    #[arg(long)]
    node: NodeName,
    /// The resolver's URL; may be given several times, and is tried in order.
    #[arg(long = "endpoint", required = true)]
    endpoints: Vec<String>,
    /// The file that holds the bearer token.
    #[arg(long)]
    token_file: PathBuf,
    /// PEM of the authority that signed the resolver's certificate; needed for https.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Bounds a whole ADD, undoing included. Seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..=240))]
    add_timeout: u32,
    /// The plugin's log file; standard error where absent.
    #[arg(long)]
    log_file: Option<PathBuf>,
    /// The plugin's log level.
    #[arg(long, default_value = "info", value_parser = ["error", "warn", "info", "debug", "trace"])]
    log_level: String,
}

impl Install {
    /// The plugin to install.
    pub fn source(&self) -> anyhow::Result<PathBuf> {
        if let Some(plugin) = &self.plugin {
            return Ok(plugin.clone());
        }
        let own = std::env::current_exe()
            .context("find this program's own folder; name the plugin with --plugin")?;
        Ok(own.with_file_name("knap"))
    }

    /// The node file that these arguments describe.
    pub fn node_file(&self, paths: &HostPaths) -> NodeFile {
        NodeFile {
            node: self.node.clone(),
            resolver: ResolverAccess {
                endpoints: self.endpoints.clone(),
                ca_file: self.ca_file.clone(),
                token_file: self.token_file.clone(),
            },
            state_dir: paths.state_dir.clone(),
            add_timeout_seconds: self.add_timeout,
            log: Log { file: self.log_file.clone(), level: self.log_level.clone() },
            boot_id_file: None,
        }
    }
}
