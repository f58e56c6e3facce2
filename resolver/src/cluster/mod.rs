//! What lives only in a cluster.

pub(crate) mod definitions;
pub(crate) mod leader;
