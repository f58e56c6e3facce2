//! The agent on a made-up node: a stand-in plugin that answers as one does, and a stand-in resolver. Needs no root.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod faults;
mod life;
mod node;
mod resolver;
mod token;
mod uninstall;
