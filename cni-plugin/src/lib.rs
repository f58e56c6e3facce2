//! The CNI plugin `knap`: asks the resolver at ADD, chains into delegates, undoes all of it at DEL.
//!
//! Small, synchronous, one process per call: what must outlive the call is in the ledger.

pub mod boot;
pub mod budget;
pub mod cni_args;
pub mod cni_result;
mod codes;
pub mod command;
pub mod config;
pub mod delegate;
pub mod environment;
pub mod failure;
pub mod fault;
#[cfg(test)]
mod fixture;
pub mod host_link;
pub mod ledger;
pub mod liveness;
pub mod logging;
mod netlink;
pub mod netns;
pub mod node_file;
pub mod release;
pub mod salvage;
pub mod session;
pub mod teardown;
pub mod valid_attachments;
pub mod version;
