//! What lives only in a cluster.

pub(crate) mod definitions;
