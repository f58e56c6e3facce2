//! What a node has: its links, its delegate plugins, what keeps it from attaching.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{BootId, InterfaceName};

/// Body of `PUT /v1/nodes/{node}/inventory`: all of it, each time. Sent when something changed, and now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// The node's present boot.
    #[serde(rename = "bootID")]
    pub boot_id: BootId,
    /// Version of the agent that looked.
    pub agent_version: String,
    /// Version of the installed plugin; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_version: Option<String>,
    /// The address by which other nodes reach this one, for tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay_address: Option<IpAddr>,
    /// The host's links that could be an uplink, sorted by name.
    #[serde(default)]
    pub interfaces: Vec<NodeInterface>,
    /// Programs in the runtime's folder of CNI plugins, sorted by name.
    #[serde(default)]
    pub delegates: Vec<DelegatePlugin>,
    /// What keeps the node from attaching, or will; empty where all is well.
    #[serde(default)]
    pub problems: Vec<NodeProblem>,
}

/// One link of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInterface {
    /// Its name.
    pub name: InterfaceName,
    /// The kernel's driver, or for a virtual link its kind: `ixgbe`, `bond`, `vlan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Hardware address, lower-case with colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Megabits a second; absent where the driver does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u32>,
    /// Bytes.
    pub mtu: u32,
    /// Whether it has a carrier.
    pub up: bool,
    /// `0000:3b:00.0`; absent for virtual links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<String>,
    /// Absent where the device has no virtual functions to give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sriov: Option<SriovCapability>,
}

/// Virtual functions of a physical one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SriovCapability {
    /// That the device can have.
    pub total_vfs: u32,
    /// That it has now.
    pub vfs: u32,
}

/// One CNI plugin, or what lies beside them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelegatePlugin {
    /// As a configuration's `type` names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The versions that it answered to VERSION with; empty where it did not, or was not asked.
    #[serde(default)]
    pub cni_versions: Vec<String>,
}

/// One thing that somebody has to see to on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeProblem {
    /// CamelCase, as a condition's reason: `ForeignPlugin`, `NamespaceFilesHidden`.
    pub reason: String,
    /// What, and what to do.
    pub message: String,
}
