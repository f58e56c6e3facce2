//! The subcommands, one file each.

pub mod crds;
pub mod plan;
pub mod serve;
pub mod version;
pub mod webhooks;
