//! Reservation: one scarce thing that is not a slot. Its creation is the lock on what its name says.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A subnet, VLAN, VNI or MAC code that belongs to one Network, named after it: `vlan-dc-a-100`, `mac-1f2e`.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "knap.github.com",
    version = "v1alpha1",
    doc = "A subnet, VLAN, VNI or MAC code that belongs to one Network, and is named after it.",
    kind = "Reservation",
    shortname = "nwr",
    status = "ReservationStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Namespace", "type": "string", "jsonPath": ".spec.network.namespace"}"#,
    printcolumn = r#"{"name": "Network", "type": "string", "jsonPath": ".spec.network.name"}"#,
    printcolumn = r#"{"name": "Verified", "type": "boolean", "jsonPath": ".status.verified"}"#,
    printcolumn = r#"{"name": "Draining", "type": "boolean", "jsonPath": ".status.draining"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ReservationSpec {
    pub network: ReservedFor,
    /// Of a subnet: the prefix, `10.64.7.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_cidr")]
    pub cidr: Option<String>,
    /// Of a subnet: within what it must not overlap another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Of a subnet: whether hosts route it. All of these share one routing table, whatever their scope.
    #[serde(default)]
    pub routed: bool,
    /// Of an address or a MAC that one attachment asked for and no slot stands for: its lease. Freed with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<ReservedForLease>,
}

/// The lease that a Reservation belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReservedForLease {
    pub name: String,
    /// Of the lease's holder: a lease made anew under the same name is another.
    pub attempt: String,
}

/// The owning Network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReservedFor {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// How far a Reservation has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationStatus {
    /// No earlier Reservation overlaps it. Only a verified one is served.
    #[serde(default)]
    pub verified: bool,
    /// The Network is gone; leases still need this.
    #[serde(default)]
    pub draining: bool,
}
