//! NetworkLease: one attachment. Its creation is the lock on the slot that its name carries.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One attachment's slot, and with it its addresses and its MAC. Named `<namespace>.<network>-<slot>`.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "knap.github.com",
    version = "v1alpha1",
    doc = "One attachment's slot, and with it its addresses and its MAC.",
    kind = "NetworkLease",
    shortname = "nwl",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Namespace", "type": "string", "jsonPath": ".spec.network.namespace"}"#,
    printcolumn = r#"{"name": "Network", "type": "string", "jsonPath": ".spec.network.name"}"#,
    printcolumn = r#"{"name": "Addresses", "type": "string", "jsonPath": ".spec.addresses"}"#,
    printcolumn = r#"{"name": "Node", "type": "string", "jsonPath": ".spec.holders[0].node"}"#,
    printcolumn = r#"{"name": "Pod", "type": "string", "jsonPath": ".spec.holders[0].pod.name"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct NetworkLeaseSpec {
    pub network: LeaseNetwork,
    #[schemars(range(max = 16_777_215))]
    pub slot: u32,
    /// Each with the prefix length of its subnet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Absent where the parent's is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$"))]
    pub mac: Option<String>,
    /// Keeps the lease without a holder until the claim's owner is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// One; two only while a virtual machine migrates.
    #[schemars(length(max = 2))]
    pub holders: Vec<Holder>,
}

/// The Network that a lease belongs to, by name and UID: one made anew under the same name is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseNetwork {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Who a sticky lease is kept for: one interface of a StatefulSet's pod, or of a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// `IPAMClaim` or `StatefulSet`.
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Of a StatefulSet's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// In the pod.
    pub interface: String,
}

/// Who uses a lease now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The ADD that it came from: the one identifier that settles who owns the lease.
    pub attempt: String,
    pub node: String,
    #[serde(rename = "bootID")]
    pub boot_id: String,
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ifname: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<HolderPod>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HolderPod {
    pub namespace: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}
