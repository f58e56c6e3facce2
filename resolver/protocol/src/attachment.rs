//! PUT of an attachment: the question asked at ADD, and its answer.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::{Attempt, BootId, HostLink, NetworkName};

/// A JSON object whose keys are not ours to know: a CNI configuration, capabilities, arguments.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// The pod that an attachment is for, as CNI_ARGS name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// K8S_POD_NAMESPACE.
    pub namespace: String,
    /// K8S_POD_NAME.
    pub name: String,
    /// K8S_POD_UID; older callers do not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// Body of `PUT /v1/nodes/{node}/attachments/{containerID}/{ifname}`.
///
/// Idempotent per `attempt`: the same attempt gets the same lease however often it asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachRequest {
    /// The Network wanted.
    pub network: NetworkName,
    /// The boot that this attachment lives and dies with.
    #[serde(rename = "bootID")]
    pub boot_id: BootId,
    /// This ADD, by the name that the lease's holder will carry.
    pub attempt: Attempt,
    /// How long the plugin will wait for the answer; nothing is created after that. Seconds.
    pub deadline_seconds: u32,
    /// Absent outside Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// The configuration's `args.cni`.
    #[serde(default, skip_serializing_if = "JsonObject::is_empty")]
    pub args: JsonObject,
    /// The capabilities' values, with `IP=` and `MAC=` of CNI_ARGS folded in as `ips` and `mac`.
    #[serde(default, skip_serializing_if = "JsonObject::is_empty")]
    pub runtime_config: JsonObject,
    /// The version of the caller's configuration.
    pub cni_version: String,
    /// Set only when a running attachment is re-asserted after the resolver lost its lease: these leases,
    /// or a 409, never others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<String>,
}

impl AttachRequest {
    /// Whether a running attachment is asserted again, which knows its leases.
    pub fn is_reassertion(&self) -> bool {
        !self.leases.is_empty()
    }
}

/// Answer to an `AttachRequest`: what to run here, for this pod, now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachReply {
    /// The decision's name, in the resolver's log, in Events and in errors.
    pub id: String,
    /// Names of the leases that this attachment holds, `shop.blue-5`.
    pub leases: Vec<String>,
    /// Delegate configurations, in the order of their ADD.
    pub plugins: Vec<JsonObject>,
    /// Links that must exist on the host before the first delegate runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_links: Vec<HostLink>,
    /// The addresses leased, each with the prefix length of its subnet. Empty without Managed addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpNetwork>,
    /// The hardware address leased, lower-case with colons; absent where the parent's is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Bytes; absent where the provider leaves it to the uplink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}
