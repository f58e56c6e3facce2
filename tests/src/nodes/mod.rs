//! A cluster of a test's own whose nodes run pods: a control plane and machines in namespaces, joined by a bridge. Whatever it makes,
//! processes, mounts, links, groups, is inside them or goes with them; this machine's own files and links stay as they are.

mod cgroups;
mod cluster;
mod containerd;
mod deployment;
mod images;
mod kubelet;
pub mod kubevirt;
mod machine;
pub mod manifests;
mod multus;
mod node;
mod plugin;
mod pods;
mod process;
mod shared;
mod wire;

pub(crate) use self::cgroups::remove as remove_cgroups;
pub use self::cluster::Cluster;
pub use self::deployment::{Before, SYSTEM};
pub use self::machine::Machine;
pub use self::node::Node;
pub use self::pods::network_status;
pub use self::process::Process;
pub use self::shared::{Alone, Session};
pub use self::wire::UPLINK;
