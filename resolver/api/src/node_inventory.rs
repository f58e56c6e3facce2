//! NodeInventory: what a node has, and which of its boots may attach. Named after the node.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, schema};

/// Annotation by which an administrator fences a node's boot, with the reason as its value: whoever sets it vouches that nothing
/// of the node reaches its networks any more. It is here and not on the Node because a kubelet may write its own Node.
pub const QUARANTINE_ANNOTATION: &str = "knap.github.com/quarantine";
/// Boots that a node's record keeps as superseded; a boot older than these is forgotten.
pub const MOST_SUPERSEDED: usize = 32;

/// A node as Knap knows it: its boots and fences, its links, its delegate plugins.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "knap.github.com",
    version = "v1alpha1",
    doc = "A node as Knap knows it: its boots and fences, its links, its delegate plugins. Named after the node.",
    kind = "NodeInventory",
    plural = "nodeinventories",
    shortname = "nwi",
    status = "NodeInventoryStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name": "Fenced", "type": "string", "jsonPath": ".spec.fences[*].reason"}"#,
    printcolumn = r#"{"name": "Agent", "type": "string", "jsonPath": ".spec.agentVersion"}"#,
    printcolumn = r#"{"name": "Underlay", "type": "string", "jsonPath": ".spec.underlayAddress", "priority": 1}"#,
    printcolumn = r#"{"name": "Boot", "type": "string", "jsonPath": ".spec.bootID", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct NodeInventorySpec {
    /// The boot that attachments are made in.
    #[serde(rename = "bootID")]
    #[schemars(schema_with = "schema::boot_id")]
    pub boot_id: String,
    /// Boots before it, the latest last. What they held is freed, and nothing is attached for them any more.
    #[serde(default, rename = "supersededBootIDs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::boot_ids")]
    pub superseded_boot_ids: Vec<String>,
    /// Boots whose leases are freed. One of the present boot lifts when its cause is gone and nothing of it remains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub fences: Vec<Fence>,
    /// Version of the agent that looked; absent while none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub agent_version: Option<String>,
    /// Version of the installed plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub plugin_version: Option<String>,
    /// The address by which other nodes reach this one, for tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_address")]
    pub underlay_address: Option<String>,
    /// The host's links that could be an uplink.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2048))]
    pub interfaces: Vec<InventoryInterface>,
    /// Programs in the runtime's folder of CNI plugins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub delegates: Vec<InventoryDelegate>,
}

/// Why nothing of a boot may hold a lease any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fence {
    /// The boot.
    #[serde(rename = "bootID")]
    #[schemars(schema_with = "schema::boot_id")]
    pub boot_id: String,
    /// Why.
    pub reason: FenceReason,
    /// RFC 3339.
    #[schemars(length(max = 40))]
    pub since: String,
}

/// Why a boot is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FenceReason {
    /// The node runs a later boot.
    Rebooted,
    /// The Node carries the taint `node.kubernetes.io/out-of-service`.
    OutOfService,
    /// An administrator's annotation.
    Quarantined,
    /// The Node was deleted, and stayed so.
    NodeGone,
}

/// One link of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryInterface {
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[^/:\s]+$"))]
    pub name: String,
    /// The kernel's driver, or for a virtual link its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub driver: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9a-f]{2}:){5,19}[0-9a-f]{2}$"))]
    pub mac: Option<String>,
    /// Megabits a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u32>,
    /// Bytes.
    pub mtu: u32,
    /// Whether it has a carrier.
    pub up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pci_address: Option<String>,
    /// Absent where the device has no virtual functions to give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sriov: Option<InventorySriov>,
}

/// Virtual functions of a physical one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventorySriov {
    /// That the device can have.
    pub total_vfs: u32,
    /// That it has now.
    pub vfs: u32,
}

/// One CNI plugin, or what lies beside them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryDelegate {
    /// As a configuration's `type` names it.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^/\s]+$"))]
    pub kind: String,
    /// The versions that it answered to VERSION with; empty where it did not, or was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::versions")]
    pub cni_versions: Vec<String>,
}

/// What somebody has to see to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInventoryStatus {
    /// `Ready`, and where it is not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
