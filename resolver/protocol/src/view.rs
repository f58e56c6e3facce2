//! What people and tools read from the resolver.

use serde::{Deserialize, Serialize};

use crate::{AttachmentKey, NetworkName, PodRef};

/// Answer of `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// The resolver's version.
    pub version: String,
    /// `embedded` or `kubernetes`.
    pub store: String,
    /// Whether attachments are served now.
    pub ready: bool,
    /// How many Networks there are, and how many of them are Ready.
    pub networks: usize,
    /// Of those, the Ready ones.
    pub networks_ready: usize,
    /// How many leases there are.
    pub leases: usize,
    /// Manifest files that could not be read, with the reason.
    #[serde(default)]
    pub broken_manifests: Vec<String>,
}

/// One subnet of a Network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubnetView {
    /// `10.64.7.0/24`.
    pub cidr: String,
    /// Absent where the subnet has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// How many attachments it can serve.
    pub capacity: u64,
    /// How many it serves now.
    pub allocated: u64,
}

/// Answer of `GET /v1/networks/{namespace}/{name}`, and an item of `GET /v1/networks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkView {
    /// Which Network.
    pub network: NetworkName,
    /// Its UID.
    pub uid: String,
    /// The class that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The class's provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Whether it serves attachments.
    pub ready: bool,
    /// The reason where it does not, as its condition says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its subnets; empty without Managed addresses.
    #[serde(default)]
    pub subnets: Vec<SubnetView>,
    /// How many attachments it has now.
    pub attachments: u64,
}

/// An item of `GET /v1/attachments?network=shop/blue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentView {
    /// Which Network.
    pub network: NetworkName,
    /// The lease's name.
    pub lease: String,
    /// Where.
    pub node: String,
    /// Which sandbox and interface there.
    #[serde(flatten)]
    pub key: AttachmentKey,
    /// Absent outside Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// `10.64.7.5/24`.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Absent where the parent's is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}
