//! The node's CNI network: Multus, or what stands in for it, over a bridge of the node's own.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::kubelet::KUBECONFIG;
use super::machine::Machine;
use super::wire::pods;
use crate::{binaries, delegates};

/// Installs Debian's plugins, and Multus by `MULTUS_BIN` or its stand-in, with its configuration.
pub(super) fn install(machine: &Machine, number: u8) {
    for plugin in ["bridge", "host-local", "loopback", "macvlan", "portmap", "static", "tuning"] {
        machine.install(&delegates().join(plugin), &format!("/opt/cni/bin/{plugin}"));
    }
    // As every node that has run a pod.
    std::fs::create_dir_all(machine.path("/var/lib/cni")).expect("a folder on a machine's disk");
    machine.install(&program(), "/opt/cni/bin/multus");
    let config = json!({
        "cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus", "kubeconfig": KUBECONFIG,
        "capabilities": { "portMappings": true },
        "delegates": [{
            "cniVersion": "0.3.1", "name": "default",
            "plugins": [
                {
                    "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{ "subnet": pods(number) }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": "portmap", "capabilities": { "portMappings": true } },
            ],
        }],
    });
    machine.write("/etc/cni/net.d/00-multus.conf", config.to_string());
}

/// The Multus that tests meet.
pub(super) fn program() -> PathBuf {
    std::env::var_os("MULTUS_BIN")
        .map_or_else(|| binaries::of_tests("multus-stand-in"), |path| Path::new(&path).to_owned())
}
