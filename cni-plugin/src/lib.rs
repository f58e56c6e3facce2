//! The CNI plugin `knap`: asks the resolver at ADD, chains into delegates, undoes all of it at DEL.
//!
//! Small, synchronous, one process per call: what must outlive the call is in the ledger.

pub mod boot;
pub mod fault;
#[cfg(test)]
mod fixture;
pub mod host_link;
pub mod ledger;
pub mod liveness;
mod netlink;
pub mod netns;
