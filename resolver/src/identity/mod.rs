//! Which pods there are, and where they run: what a node says of a pod is believed only if the API server says so too
//! (design: invariant 6).

mod bound_pod;

pub use bound_pod::{Binding, BoundPod};
