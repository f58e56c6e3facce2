//! The node file: how a node's plugin finds its resolver. The installer writes it, the plugin reads it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::NodeName;

/// `/etc/cni/net.d/knap.d/node.json`, or the file that the environment variable `KNAP_CONFIG` names; never one that a
/// network's configuration names, since tenants write those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFile {
    /// The node's name, as the resolver knows it.
    pub node: NodeName,
    /// Where the resolver is.
    pub resolver: ResolverAccess,
    /// The ledger's folder.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Bounds a whole ADD, undoing included. Seconds.
    #[serde(default = "default_add_timeout")]
    pub add_timeout_seconds: u32,
    /// Where the plugin logs.
    #[serde(default)]
    pub log: Log,
    /// A file to read the boot ID from instead of the kernel's; only builds for tests look at it.
    #[serde(default, rename = "bootIDFile", skip_serializing_if = "Option::is_none")]
    pub boot_id_file: Option<PathBuf>,
}

/// How to reach the resolver, and what to show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolverAccess {
    /// `https://10.96.7.7:443`; several are tried in order. `http://` on loopback only.
    pub endpoints: Vec<String>,
    /// PEM of the authority that signed the resolver's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The bearer token; read at each call, since it rotates.
    pub token_file: PathBuf,
}

/// Where and how much the plugin logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Standard error where absent.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(default = "default_level")]
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { file: None, level: default_level() }
    }
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/knap-node")
}

fn default_add_timeout() -> u32 {
    30
}

fn default_level() -> String {
    "info".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_has_a_default() {
        let file: NodeFile = serde_json::from_str(
            r#"{"node": "n1", "resolver": {"endpoints": ["http://127.0.0.1:1"], "tokenFile": "/t"}}"#,
        )
        .unwrap();
        assert_eq!(file.state_dir, PathBuf::from("/var/lib/knap-node"));
        assert_eq!((file.add_timeout_seconds, file.log.level.as_str()), (30, "info"));
    }
}
