//! Knap's operator and HTTP service: decides what each attachment gets, and remembers it.

pub mod admission;
pub mod attach;
mod causes;
pub mod claims;
pub mod cli;
pub mod cluster;
pub mod command;
mod decision;
pub mod fault;
pub mod http;
pub mod identity;
pub mod manifests;
pub mod metrics;
pub mod nodes;
pub mod provision;
mod quickened;
pub mod store;
#[cfg(test)]
mod testing;
mod timestamp;
pub mod translate;
pub mod view;
