//! How a node's programs, the plugin and the agent, call the resolver: one connection per call, within a budget, over the
//! endpoints in order.
//!
//! Small and synchronous, since the plugin is: what only one of its users calls costs the other nothing in its binary.

mod address;
mod endpoint;
mod error;
mod http;
mod reached;
mod resolver;
#[cfg(test)]
mod tests;

pub use endpoint::{Endpoint, EndpointError};
pub use error::{Cause, Outcome, ResolverError};
pub use resolver::Resolver;
