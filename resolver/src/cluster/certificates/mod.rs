//! The certificate that nodes know this service by: made here, kept in a Secret, renewed while requests flow.
//!
//! An authority signs the serving certificate; nodes trust every authority in the ConfigMap. A new authority is published
//! long before it signs, so that whoever reads the ConfigMap now and then never meets a stranger. Any replica renews:
//! writing the Secret unless it has changed is the lock.

mod issue;
mod keeper;
mod material;
mod renew;
mod served;
mod terms;

pub(crate) use keeper::Keeper;
pub(crate) use served::Served;
