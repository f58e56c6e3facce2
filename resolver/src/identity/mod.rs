//! Which pods there are, and where they run: what a node says of a pod is believed only if the API server says so too
//! (design: invariant 6).

mod bound_pod;
mod error;
mod facts;
mod pods;

pub use bound_pod::{Binding, BoundPod};
pub use error::IdentityError;
pub use pods::Pods;

#[cfg(test)]
mod tests;
