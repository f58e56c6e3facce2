//! What lives only in a cluster.

pub(crate) mod certificates;
pub(crate) mod connect;
mod events;
pub(crate) mod kinds;
pub(crate) mod leader;
mod nad;
mod surroundings;

pub(crate) use surroundings::Cluster;
