//! The tokens that nodes call with: signed here, verified by every replica without asking anyone.
//!
//! A token names its node and the Node object's UID. The keys are in a Secret that all replicas share; a new key is there
//! before it signs, and an old one stays while tokens of it live. Deleting the Secret makes every token void.

mod keeper;
mod keyring;
mod keys;
mod rotate;
mod terms;
mod token;

pub(crate) use keeper::Keeper;
pub(crate) use keyring::{Keyring, TokenError};
pub(crate) use token::{Claims, looks_like_one};
