//! Where things are on the host.

use std::path::{Path, PathBuf};

use crate::host_root::HostRoot;
use crate::plugin_binary::PluginBinary;

/// Where things are on the host. All paths are the host's own, wherever its root is from here.
#[derive(Debug, Clone, clap::Args)]
pub struct HostPaths {
    /// Where the host's root folder is: in a container, where it is mounted. The host's programs are run inside it.
    #[arg(long, global = true, default_value = "/")]
    pub host_root: PathBuf,
    /// The folder that the container runtime searches for plugins.
    #[arg(long, global = true, default_value = "/opt/cni/bin")]
    pub bin_dir: PathBuf,
    /// The folder for the plugin's own configuration.
    #[arg(long, global = true, default_value = "/etc/cni/net.d/knap.d")]
    pub config_dir: PathBuf,
    /// The plugin's ledger.
    #[arg(long, global = true, default_value = "/var/lib/knap-node")]
    pub state_dir: PathBuf,
}

impl HostPaths {
    /// The node file's place.
    pub fn node_file(&self) -> PathBuf {
        self.config_dir.join("node.json")
    }

    /// Where the node file is while nobody may begin anything by it.
    pub(crate) fn withdrawn_node_file(&self) -> PathBuf {
        self.config_dir.join("node.json.withdrawn")
    }

    /// The authorities that an agent keeps for the plugin.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.config_dir.join("ca.crt")
    }

    /// The token that an agent keeps for the plugin.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.config_dir.join("token")
    }

    /// What an agent remembers of that token.
    pub(crate) fn token_record(&self) -> PathBuf {
        self.config_dir.join("token.json")
    }

    /// Held by whoever changes the node.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.config_dir.join("agent.lock")
    }

    /// All that is written into the configuration folder, but for the lock.
    pub(crate) fn kept_files(&self) -> [PathBuf; 5] {
        [self.node_file(), self.withdrawn_node_file(), self.ca_file(), self.token_file(), self.token_record()]
    }

    /// The plugin in its folder.
    pub(crate) fn plugin(&self) -> PluginBinary {
        PluginBinary::in_folder(&self.root(), &self.bin_dir)
    }

    /// The host's root.
    pub(crate) fn root(&self) -> HostRoot {
        HostRoot::new(&self.host_root)
    }

    /// Where a path of the host is from here.
    pub(crate) fn here(&self, path: &Path) -> PathBuf {
        self.root().at(path)
    }
}
