//! The objects by which the API server asks this service: what they have to be, and the certificates in them.

mod objects;
mod publish;

pub use objects::{MatchConditions, ObjectsOf, WebhookObjects};
pub(crate) use publish::Publisher;
