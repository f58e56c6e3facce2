//! What the plugin, the node agent and the resolver say to each other: JSON over HTTP, path-versioned.
//!
//! Fields that a reader does not know are ignored; what an older reader must not ignore becomes a new
//! version of the path (`/v2/…`), never a new field.

mod attachment;
mod credentials;
mod host_link;
mod inventory;
mod name;
mod node_file;
pub mod path;
mod problem;
mod reap;
mod reconcile;
mod view;

pub use attachment::{AttachReply, AttachRequest, JsonObject, PodRef};
pub use credentials::{AUDIENCE, NodeCredentials};
pub use host_link::{HostLink, HostLinkKind};
pub use inventory::{DelegatePlugin, Inventory, NodeInterface, NodeProblem, SriovCapability};
pub use name::{Attempt, BootId, ContainerId, InterfaceName, InvalidName, NetworkName, NodeName};
pub use node_file::{Log, NodeFile, ResolverAccess};
pub use problem::{CniCode, Problem, ProblemKind};
pub use reap::ReapSummary;
pub use reconcile::{AttachmentKey, LedgerEntry, LedgerState, ReconcileReply, ReconcileRequest, Suspect};
pub use view::{AttachmentView, NetworkView, StatusView, SubnetView};
