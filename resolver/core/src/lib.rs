//! Knap's decisions, pure: no cluster, no clock, no I/O. Others fetch, translate and store.

mod carve;
mod class;
mod cluster_networks;
mod decide;
mod eligibility;
mod features;
mod fence;
#[cfg(test)]
mod fixture;
mod free_slots;
mod ip_family;
mod layout;
mod mac;
mod needs;
mod network;
mod numbers;
mod overlap;
mod permission;
mod plan;
pub mod provider;
mod quota;
mod range;
mod removal;
pub mod reservation;
mod selection;
mod selector;
mod slot;
mod slot_ranges;
mod subnet;
mod wire;

pub use carve::{GatewayPolicy, Pool, PoolError, carve};
pub use class::{Access, AddressScope, Class, Segments, Uplink, built_in_class};
pub use cluster_networks::{ClusterConflict, ClusterNetwork, ClusterNetworks};
pub use decide::{DecideError, Decision, decide};
pub use eligibility::{Equipment, Found, NodeNeeds, Unfit, check_node};
pub use features::{DEFAULT_MTU, Features, MissingFeature, MissingFeatures};
pub use fence::{Boots, Causes, Fence, FenceReason, Standing};
pub use free_slots::FreeSlots;
pub use ip_family::IpFamily;
pub use layout::{Layout, LayoutError, SlotError};
pub use mac::{Mac, MacCode, MacError};
pub use needs::{Needs, NeedsError, Profile, SubnetNeed};
pub use network::{Dns, IntentError, IpamMode, NetworkIntent, NetworkRef, Route};
pub use numbers::{NumberError, NumberKind, NumberRanges};
pub use overlap::{SubnetClaim, first_conflict, scopes_meet};
pub use permission::{NotPermitted, may_attach};
pub use plan::{Grant, MacSource, Plan, PlanError, Segment};
pub use provider::{
    Attachment, AttachmentError, HostLink, HostLinkKind, JsonObject, LeaseFacts, NodeFacts, Provider,
    ProviderError,
};
pub use quota::{OverQuota, check_attachments, check_networks};
pub use range::{AddressRange, RangeError};
pub use removal::{RemovedInUse, check_removal};
pub use selection::{KnownClasses, Refusal, SelectionError, select_class};
pub use selector::{LabelSelector, Labels, Requirement, SelectorError};
pub use slot::Slot;
pub use slot_ranges::SlotRanges;
pub use subnet::{CidrError, Subnet, check_cidr, first_host};
pub use wire::{FabricConflict, Seniority, fabric_conflicts};
