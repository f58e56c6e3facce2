//! What both ways of installing the plugin have to be told.

use std::path::PathBuf;

use anyhow::Context;
use knap_protocol::{Log, NodeFile, NodeName, ResolverAccess};

use super::HostPaths;

/// How to install the plugin.
#[derive(Debug, Clone, clap::Args)]
pub struct PluginSettings {
    /// The plugin to install; the `knap` beside this program where absent.
    #[arg(long)]
    plugin: Option<PathBuf>,
    /// This node's name.
    #[arg(long, env = "NODE_NAME")]
    pub(crate) node: NodeName,
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

impl PluginSettings {
    /// The plugin to install.
    pub fn source(&self) -> anyhow::Result<PathBuf> {
        if let Some(plugin) = &self.plugin {
            return Ok(plugin.clone());
        }
        let own = std::env::current_exe()
            .context("find this program's own folder; name the plugin with --plugin")?;
        Ok(own.with_file_name("knap"))
    }

    /// The node file for a resolver at `endpoints`.
    pub(crate) fn node_file(
        &self,
        paths: &HostPaths,
        endpoints: &[String],
        ca_file: Option<PathBuf>,
        token_file: PathBuf,
    ) -> NodeFile {
        NodeFile {
            node: self.node.clone(),
            resolver: ResolverAccess { endpoints: endpoints.to_vec(), ca_file, token_file },
            state_dir: paths.state_dir.clone(),
            add_timeout_seconds: self.add_timeout,
            log: Log { file: self.log_file.clone(), level: self.log_level.clone() },
            boot_id_file: None,
        }
    }
}
