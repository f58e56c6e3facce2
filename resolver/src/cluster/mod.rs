//! What lives only in a cluster.

pub(crate) mod authority;
pub(crate) mod certificates;
pub(crate) mod connect;
mod events;
pub(crate) mod kinds;
mod labels;
pub(crate) mod leader;
pub(crate) mod nad;
pub(crate) mod node_tokens;
pub(crate) mod own_networks;
mod shared_secret;
mod surroundings;
pub mod webhooks;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use authority::AgentAccount;
pub(crate) use events::{Events, Slipped};
pub(crate) use labels::NodeLabels;
pub(crate) use surroundings::Cluster;

use crate::store::ObjectName;

/// The beginnings of an object of this name.
fn named(name: &ObjectName) -> ObjectMeta {
    ObjectMeta { name: Some(name.name.clone()), namespace: name.namespace.clone(), ..ObjectMeta::default() }
}
