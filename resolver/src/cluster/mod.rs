//! What lives only in a cluster.

mod events;
pub(crate) mod kinds;
pub(crate) mod leader;
mod nad;
mod surroundings;

pub(crate) use surroundings::Cluster;
