//! A stand-in for Multus, which no registry here has: the part of its thin plugin that Knap meets. It runs the default network,
//! then each network of a pod's annotation, with the arguments, capabilities and caches that Multus gives them, and writes
//! `k8s.v1.cni.cncf.io/network-status`. It reads Multus' own configuration, so that a real one can take its place.

mod api;
mod attachment;
mod cache;
mod command;
mod selection;
mod status;

pub use command::{Environment, run};
