//! What the ledger remembers of one attachment.

use knap_protocol::{
    AttachmentKey, Attempt, BootId, HostLink, JsonObject, LedgerEntry, LedgerState, NetworkName, PodRef,
};
use serde::{Deserialize, Serialize};

use crate::netns::NetnsIdentity;

/// One attachment: what ADD was asked for, what it was answered, and what it used. DEL and CHECK work from
/// this alone, whatever has become of the Network and of the caller's caches.
///
/// The fields that say whose it is come first, so that a file cut short may still tell them (see
/// [`Remains`](super::Remains)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Which attachment.
    pub key: AttachmentKey,
    /// The ADD it came from.
    pub attempt: Attempt,
    /// The Network asked for.
    pub network: NetworkName,
    /// The boot that ADD ran in.
    #[serde(rename = "bootID")]
    pub boot_id: BootId,
    /// How far it came.
    pub state: LedgerState,
    /// Names of the leases; empty while the resolver has not answered.
    #[serde(default)]
    pub leases: Vec<String>,
    /// The sandbox's namespace; absent only while it is not yet looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<NetnsIdentity>,
    /// When the resolver gives up on this attempt's PUT, in seconds since the epoch. A release that was sent
    /// before that may have been overtaken by the PUT, and is sent again after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_deadline: Option<u64>,
    /// The resolver's decision, by its `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Whose sandbox it is; absent outside Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// `name` of the configuration, as delegates and GC know it.
    pub config_name: String,
    /// `cniVersion` of the configuration.
    pub cni_version: String,
    /// CNI_ARGS as given.
    #[serde(default)]
    pub cni_args: String,
    /// CNI_PATH as given.
    #[serde(default)]
    pub cni_path: String,
    /// The configuration's `args`.
    #[serde(default, skip_serializing_if = "JsonObject::is_empty")]
    pub args: JsonObject,
    /// The configuration's `runtimeConfig`. Callers lose parts of it before DEL.
    #[serde(default, skip_serializing_if = "JsonObject::is_empty")]
    pub runtime_config: JsonObject,
    /// The configuration's `deviceID`.
    #[serde(default, rename = "deviceID", skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The configuration's `pciBusID`.
    #[serde(default, rename = "pciBusID", skip_serializing_if = "Option::is_none")]
    pub pci_bus_id: Option<String>,
    /// Links kept on the host for this attachment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_links: Vec<HostLink>,
    /// Delegate configurations as the resolver answered them, in the order of their ADD.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<JsonObject>,
    /// The final result, at the configuration's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JsonObject>,
}

impl From<&Entry> for LedgerEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            key: entry.key.clone(),
            network: entry.network.clone(),
            attempt: entry.attempt.clone(),
            boot_id: entry.boot_id.clone(),
            state: entry.state,
            leases: entry.leases.clone(),
        }
    }
}
