//! Fixtures for the tiers under `tests/`: a [`Host`] is one machine with its own network namespace, node file,
//! ledger, delegates and resolver; a [`Sandbox`] is a pod's network namespace on it; a [`Call`] runs `knap` there as
//! a runtime does.
//!
//! A fixture that can't do its work fails the test with a message that says what is missing.

mod agent;
pub mod binaries;
pub mod delegate;
mod host;
mod kernel;
#[cfg(feature = "api")]
pub mod kubernetes;
mod ledger;
#[cfg(feature = "api")]
pub mod multus;
#[cfg(feature = "api")]
pub mod nodes;
mod plugin;
mod real;
mod resolver;
mod sandbox;
mod seed;
mod stale;
mod waiting;
mod wire;

pub use agent::Agent;
pub use delegate::{Action, Delegates, Recorded, Script};
pub use host::{
    CLASS, HiddenNamespaces, Host, MemoryDisk, SharedFolder, bridge_class, class, network, recorded_class,
    recorded_class_on,
};
pub use kernel::bare;
#[cfg(feature = "api")]
pub use kubernetes::{
    ADMIN, AGENT, Attached, Behind, Caller, Cluster, Counters, Fate, Finished, KubernetesApi, NOBODY,
    Objects, Proxy, RESOLVER, Replica, Reply, WEBHOOKS, Written, condition,
};
pub use ledger::LedgerView;
pub use plugin::{ALL_VERSIONS, Answer, Call, CniError, thin_config};
pub use real::{Pod, delegates};
pub use resolver::{PORT, Resolver};
pub use sandbox::{Sandbox, require_root};
pub use seed::Seed;
pub use stale::sweep;
pub use waiting::{GENEROUS, SELDOM, eventually, eventually_is};
pub use wire::{Behaviour, Exchange, Wire};
