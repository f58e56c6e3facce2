//! kubelet and kube-proxy of a node.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::json;

use super::containerd::SOCKET;
use super::images::PAUSE;
use super::machine::Machine;
use crate::kubernetes::daemon::Daemon;

/// What both reach the API server with.
pub(super) const KUBECONFIG: &str = "/etc/kubernetes/kubelet.kubeconfig";

/// A kubelet; when its node is ready, the API server knows.
pub(super) fn start(
    machine: &Machine,
    assets: &Path,
    path: &str,
    name: &str,
    address: Ipv4Addr,
    cgroup: &str,
) -> Daemon {
    let config = json!({
        "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "cgroupDriver": "cgroupfs", "cgroupRoot": cgroup, "enforceNodeAllocatable": [], "failSwapOn": false,
        "resolvConf": "/etc/resolv.conf", "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "nodeStatusUpdateFrequency": "5s", "syncFrequency": "10s",
        // The disk is that of the outside, and not this node's to judge.
        "evictionHard": {
            "imagefs.available": "0%", "memory.available": "1Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
    });
    machine.write("/etc/kubernetes/kubelet.json", config.to_string());
    machine.write("/etc/resolv.conf", "");
    machine.write("/etc/hosts", format!("127.0.0.1 localhost\n{address} {name}\n"));
    let arguments = [
        "--config=/etc/kubernetes/kubelet.json".to_owned(),
        format!("--kubeconfig={KUBECONFIG}"),
        "--container-runtime=remote".to_owned(),
        format!("--container-runtime-endpoint=unix://{SOCKET}"),
        format!("--hostname-override={name}"),
        format!("--node-ip={address}"),
        format!("--pod-infra-container-image={PAUSE}"),
    ];
    machine.start(&assets.join("kubelet"), &arguments, &[("PATH", path)], "kubelet.log")
}

/// A kube-proxy.
pub(super) fn start_proxy(machine: &Machine, assets: &Path, path: &str, name: &str) -> Daemon {
    let arguments = [
        format!("--kubeconfig={KUBECONFIG}"),
        format!("--hostname-override={name}"),
        "--proxy-mode=iptables".to_owned(),
        // The kernel's table is the outside's as well.
        "--conntrack-max-per-core=0".to_owned(),
        "--conntrack-tcp-timeout-established=0".to_owned(),
        "--conntrack-tcp-timeout-close-wait=0".to_owned(),
    ];
    machine.start(&assets.join("kube-proxy"), &arguments, &[("PATH", path)], "kube-proxy.log")
}
