//! NetworkClass: what an administrator knows of the fabric.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Features, schema};

/// Annotation that marks the class of Networks that name none: `"true"`.
pub const DEFAULT_CLASS_ANNOTATION: &str = "knap.github.com/is-default-class";

/// A way to provide Networks, as a StorageClass is for volumes.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "knap.github.com",
    version = "v1alpha1",
    doc = "A way to provide Networks, as a StorageClass is for volumes.",
    kind = "NetworkClass",
    plural = "networkclasses",
    shortname = "nwc",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Provider", "type": "string", "jsonPath": ".spec.provider"}"#,
    printcolumn = r#"{"name": "Fabric", "type": "string", "jsonPath": ".spec.fabric"}"#,
    printcolumn = r#"{"name": "Subnets", "type": "string", "jsonPath": ".spec.subnets[*].cidr"}"#,
    printcolumn = r#"{"name": "VLANs", "type": "string", "jsonPath": ".spec.segments.vlans[*]"}"#,
    printcolumn = r#"{"name": "Default", "type": "string", "jsonPath": ".metadata.annotations.knap\\.github\\.com/is-default-class"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkClassSpec {
    /// `bridge`, `macvlan`, `sriov`, `host-device` or `cni`; a class of any other is not served.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub provider: String,
    /// The wire; classes on one fabric share its VLAN numbers. The class's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub fabric: Option<String>,
    /// The provider's own settings, validated by it.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(schema_with = "schema::any_object")]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// What Networks of this class offer.
    #[serde(default)]
    pub features: Features,
    /// The interface to use, per node: first match wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub uplinks: Vec<Uplink>,
    /// Instead of uplinks: the device plugin's resource, one per class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 317),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub resource_name: Option<String>,
    /// Numbers of which each Network gets one: `vlans`, by provider sriov; no provider takes `vxlan` yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<Segments>,
    /// Where Networks' subnets come from: one unit per family, from the first entry with room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub subnets: Vec<PoolSubnet>,
    /// Within what addresses must be unique.
    #[serde(default)]
    pub address_scope: AddressScope,
    /// Whether a Network may name its subnets.
    #[serde(default)]
    pub allow_requested_subnets: bool,
    /// Whether a Network may be shared with other namespaces.
    #[serde(default)]
    pub allow_sharing: bool,
    /// Who may use the class, and how much; everybody without limits where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

/// An interface of the nodes that match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Uplink {
    /// Nodes; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_selector")]
    pub node_selector: Option<LabelSelector>,
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[^/:\s]+$"))]
    pub interface: String,
}

/// Numbers that separate broadcast domains on one fabric.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Segments {
    /// `100-199` or `100`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::vlans")]
    pub vlans: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vxlan: Option<Vxlan>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vxlan {
    /// `10000-19999` or `10000`.
    #[schemars(schema_with = "schema::vnis")]
    pub vnis: Vec<String>,
    /// UDP; 4789 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// Address space of a class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSubnet {
    #[schemars(schema_with = "schema::cidr")]
    pub cidr: String,
    /// Size of one Network's unit.
    #[schemars(range(min = 1, max = 128))]
    pub prefix_length: u8,
    /// Parts that are never carved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::ranges")]
    pub exclude: Vec<String>,
    /// Units are slices of one on-link subnet: addresses carry `cidr`'s prefix length and gateway.
    #[serde(default)]
    pub shared: bool,
    /// `First`, `None` or an address; the provider's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(First|None|[0-9a-fA-F:.]{2,45})$"))]
    pub gateway: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AddressScope {
    /// Unique in the cluster.
    #[default]
    Cluster,
    /// Unique on the segment: isolated Networks may use the same addresses.
    Segment,
}

/// Who may use a class, and how much.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// Namespaces; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_selector")]
    pub namespace_selector: Option<LabelSelector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks_per_namespace: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments_per_namespace: Option<u32>,
}
