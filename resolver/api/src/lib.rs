//! Knap's kinds, group `knap.github.com`, version `v1alpha1`: one file per kind, no I/O, no decisions.
//!
//! Addresses, ranges and names are strings here, as people write them: one object with nonsense in it must not
//! keep a list of thousands from being read. They are parsed once, by the resolver, into the types of `knap-core`.

// The derive writes the root structs, whose documentation is the schema's description.
#![allow(missing_docs, reason = "kube's derive makes public items without documentation")]

mod condition;
mod definitions;
mod lease;
mod network;
mod network_attachment_definition;
mod network_class;
mod node_inventory;
mod reservation;
mod schema;

pub use condition::{Condition, ConditionStatus};
pub use definitions::definitions;
pub use lease::{Claim, Holder, HolderPod, LeaseNetwork, NetworkLease, NetworkLeaseSpec};
pub use network::{
    AddressPolicy, Dns, EligibleNodes, Features, IpFamily, Ipam, Network, NetworkSpec, NetworkStatus,
    NetworkSummary, Route, Segment, SharedWith, StatusSubnet,
};
pub use network_attachment_definition::{NetworkAttachmentDefinition, NetworkAttachmentDefinitionSpec};
pub use network_class::{
    Access, AddressScope, DEFAULT_CLASS_ANNOTATION, NetworkClass, NetworkClassSpec, PoolSubnet, Segments,
    Uplink, Vxlan,
};
pub use node_inventory::{
    Fence, FenceReason, InventoryDelegate, InventoryInterface, InventorySriov, MOST_SUPERSEDED,
    NodeInventory, NodeInventorySpec, NodeInventoryStatus, QUARANTINE_ANNOTATION,
};
pub use reservation::{Reservation, ReservationSpec, ReservationStatus, ReservedFor, ReservedForLease};

/// The API group.
pub const GROUP: &str = "knap.github.com";
/// The API version served.
pub const VERSION: &str = "v1alpha1";

/// Label of leases and Reservations: UID of the Network that they belong to.
pub const NETWORK_UID_LABEL: &str = "knap.github.com/network-uid";
/// Label of leases and Reservations: namespace of the Network that they belong to.
pub const NETWORK_NAMESPACE_LABEL: &str = "knap.github.com/network-namespace";
/// Label of NetworkAttachmentDefinitions: name of the Network that they lead to.
pub const NETWORK_NAME_LABEL: &str = "knap.github.com/network-name";
/// Label of what Knap makes for others to read, with the value [`MANAGED_BY`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "knap";
/// Label of namespaces, with the value `true`: Networks that are shared with the namespace get a
/// NetworkAttachmentDefinition there.
pub const PROJECT_LABEL: &str = "knap.github.com/project-networks";
/// Finalizer of Networks: what running attachments need is kept before the Network goes.
pub const NETWORK_FINALIZER: &str = "knap.github.com/network";
/// Prefix of the labels of Nodes that a class can serve, each with the value `true`; the class's name follows.
pub const CLASS_LABEL_PREFIX: &str = "network.knap.github.com/";
/// The label of Nodes that a class can serve.
pub fn class_label(class: &str) -> String {
    format!("{CLASS_LABEL_PREFIX}{class}")
}
/// Label of Nodes that Networks with addresses by DHCP can be served on, beside that of their class. No class has a dot in its name.
pub const DHCP_LABEL: &str = "network.knap.github.com/ipam.dhcp";
/// Annotation of Nodes, an RFC 3339 time: tokens of the node that were issued before are void.
pub const NODE_TOKENS_NOT_BEFORE_ANNOTATION: &str = "knap.github.com/node-tokens-not-before";
/// Prefix of a lease's label per holder; a hash of (node, containerID, ifname) follows.
pub const HOLDER_LABEL_PREFIX: &str = "knap.github.com/h-";
/// Annotation of a lease: Reservations that it needs beside its slot, comma-separated. They are freed with it.
pub const RESERVATIONS_ANNOTATION: &str = "knap.github.com/reservations";
