//! Network: what a developer asks for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, schema};

/// A network that pods and virtual machines can be attached to, asked for by its features.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "knap.github.com",
    version = "v1alpha1",
    doc = "A network that pods and virtual machines can be attached to, asked for by its features.",
    kind = "Network",
    namespaced,
    shortname = "nw",
    category = "all",
    status = "NetworkStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Class", "type": "string", "jsonPath": ".status.class"}"#,
    printcolumn = r#"{"name": "Provider", "type": "string", "jsonPath": ".status.provider", "priority": 1}"#,
    printcolumn = r#"{"name": "Subnets", "type": "string", "jsonPath": ".status.summary.subnets"}"#,
    printcolumn = r#"{"name": "VLAN", "type": "integer", "jsonPath": ".status.segment.vlan", "priority": 1}"#,
    printcolumn = r#"{"name": "Used", "type": "string", "jsonPath": ".status.summary.used"}"#,
    printcolumn = r#"{"name": "Nodes", "type": "integer", "jsonPath": ".status.nodes.eligible"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// A NetworkClass by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub class: Option<String>,
    /// Any class with this provider, the default-marked one first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub provider: Option<String>,
    /// Features; the class must offer all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Features>,
    /// Free strings for the provider; none of the built-in ones reads any yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::hints")]
    pub hints: BTreeMap<String, String>,
    /// Subnets asked for, where the class allows it; otherwise they are carved from the class's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::cidrs")]
    pub subnets: Vec<String>,
    /// Who gives out addresses.
    #[serde(default)]
    pub ipam: Ipam,
    /// Addresses, prefixes or ranges (`10.64.7.1-10.64.7.20`) that are never given out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::ranges")]
    pub reserved: Vec<String>,
    /// Routes that every attachment gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub routes: Vec<Route>,
    /// Name resolution, passed on in the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// Whether a StatefulSet's pod gets the same address again.
    #[serde(default)]
    pub address_policy: AddressPolicy,
    /// Other namespaces that may attach, where the class permits sharing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_with: Option<SharedWith>,
}

/// What a Network needs, or a class offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Features {
    /// A broadcast domain of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<bool>,
    /// Packets bypass the host's kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_acceleration: Option<bool>,
    /// Reaches outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::families")]
    pub ip_families: Vec<IpFamily>,
    /// At least this many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum IpFamily {
    IPv4,
    IPv6,
}

/// Who gives out addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Ipam {
    /// Knap does.
    #[default]
    Managed,
    /// Nobody: layer 2 only.
    None,
    /// A DHCP server on the network.
    #[serde(rename = "DHCP")]
    Dhcp,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AddressPolicy {
    #[default]
    Ephemeral,
    Sticky,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A prefix, `172.16.0.0/12`.
    #[schemars(schema_with = "schema::cidr")]
    pub destination: String,
    /// On-link where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_address")]
    pub gateway: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::addresses")]
    pub nameservers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_domain")]
    pub domain: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::domains")]
    pub search: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedWith {
    /// Namespaces that may attach; empty selects all.
    #[serde(default)]
    #[schemars(schema_with = "schema::selector")]
    pub namespace_selector: LabelSelector,
}

/// What became of a Network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<StatusSubnet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<EligibleNodes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_attachment_definitions: Vec<String>,
    #[serde(default)]
    pub attachments: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<NetworkSummary>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What columns show: a column can't put lists or two numbers together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkSummary {
    /// `10.64.7.0/24,fd00:64:7::/64`. Left out where there are none: API servers before 1.21 take an empty text for null.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subnets: String,
    /// Attachments there are and can be, `34/253`; the first alone where there are no addresses.
    pub used: String,
}

/// The broadcast domain that the Network got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// Name of the bridge on every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The two bytes of this Network's MAC addresses and link names, in hex: `1f2e`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_code: Option<String>,
}

/// A subnet that the Network got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusSubnet {
    pub cidr: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The on-link prefix that addresses carry, where it is wider than `cidr`: a slice of a shared subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_link: Option<String>,
    /// First slot of this subnet; per family, appended to, never shifted.
    pub slot_base: u32,
    pub capacity: u64,
    pub allocated: u64,
}

/// Nodes that can attach pods to the Network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EligibleNodes {
    pub eligible: u32,
    pub total: u32,
}
