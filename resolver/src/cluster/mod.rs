//! What lives only in a cluster.

pub(crate) mod certificates;
pub(crate) mod connect;
mod events;
pub(crate) mod kinds;
pub(crate) mod leader;
pub(crate) mod nad;
pub(crate) mod own_networks;
mod surroundings;

pub(crate) use surroundings::Cluster;
