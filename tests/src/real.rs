//! Hosts with Debian's CNI plugins as delegates.

use std::path::PathBuf;

use serde_json::Value;

use crate::{Answer, Call, Host, Sandbox, eventually, thin_config};

/// Where the real delegates are: `KNAP_DELEGATES`, or Debian's place.
///
/// # Panics
/// With what to install, if they are not there.
pub fn delegates() -> PathBuf {
    let folder =
        std::env::var_os("KNAP_DELEGATES").map_or_else(|| PathBuf::from("/usr/lib/cni"), PathBuf::from);
    assert!(
        folder.join("bridge").is_file(),
        "no CNI plugins in {}: install containernetworking-plugins, or name their folder in KNAP_DELEGATES",
        folder.display()
    );
    folder
}

/// A pod on a host, attached to one Network or about to be.
#[derive(Debug)]
pub struct Pod {
    /// Its network namespace.
    pub sandbox: Sandbox,
    /// Its container ID.
    pub container: String,
    config: Value,
}

impl Host {
    /// A machine that serves these manifests with real delegates; the Networks named are ready.
    pub fn start_real(manifests: &[String], networks: &[&str]) -> Self {
        Self::new().serving_real(manifests, networks)
    }

    /// Starts the resolver with these manifests, adds real delegates, and waits for these Networks.
    pub fn serving_real(self, manifests: &[String], networks: &[&str]) -> Self {
        let mut host = self.serving(manifests, &[]);
        host.add_cni_folder(&delegates());
        for network in networks {
            host.resolver.wait_ready(network);
        }
        host
    }

    /// A pod of a Network's namespace, not yet attached to it.
    pub fn pod_of(&self, network: &str, name: &str) -> Pod {
        Pod { sandbox: self.pod(name), container: format!("c-{name}"), config: thin_config(network, "1.0.0") }
    }

    /// A pod attached to a Network as `net1`.
    pub fn attached(&self, network: &str, name: &str) -> Pod {
        let pod = self.pod_of(network, name);
        pod.add(self).result();
        pod
    }

    /// Reaps until nothing of a Network's attachments is left. A release whose PUT was never answered is sent once more
    /// after that PUT's deadline, so one call need not be enough.
    ///
    /// # Panics
    /// If anything stays.
    pub fn reap_all(&self, network: &str) {
        eventually("reap leaves nothing", || {
            self.reap();
            (self.ledger.traces().is_empty() && self.resolver.leases(network).is_empty()).then_some(())
        });
        self.assert_nothing_left(network);
    }
}

impl Pod {
    /// Gives the configuration another member: `runtimeConfig`, say.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// The ADD of `net1`, not yet run.
    pub fn add_call(&self) -> Call {
        Call::add(&self.container, &self.sandbox, &self.config)
    }

    /// The DEL of `net1`, not yet run.
    pub fn del_call(&self) -> Call {
        Call::del(&self.container, &self.sandbox, &self.config)
    }

    /// Runs ADD.
    pub fn add(&self, host: &Host) -> Answer {
        self.add_call().run(host)
    }

    /// Runs CHECK with the result of ADD.
    pub fn check(&self, host: &Host, result: &Value) -> Answer {
        Call::check(&self.container, &self.sandbox, &self.config, result).run(host)
    }

    /// Runs DEL, which must succeed in silence and leave no interface.
    pub fn del(&self, host: &Host) {
        self.del_call().run(host).quiet();
        assert!(!self.sandbox.has_interface("net1"), "net1 is still in {}", self.container);
    }

    /// The addresses that the kernel has on `net1`.
    pub fn addresses(&self) -> Vec<String> {
        self.sandbox.addresses("net1")
    }

    /// The one address that the kernel has on `net1`.
    pub fn address(&self) -> String {
        let addresses = self.addresses();
        assert_eq!(addresses.len(), 1, "addresses of {}: {addresses:?}", self.container);
        addresses.into_iter().next().expect("one address")
    }
}
