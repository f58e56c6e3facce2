//! The container runtime of a node.

use std::path::{Path, PathBuf};

use super::images::PAUSE;
use super::machine::Machine;
use crate::eventually;
use crate::kubernetes::daemon::Daemon;

/// Debian's version, which reads version 2 of its configuration. Scores of the kernel's killer can't be lowered everywhere.
const CONFIG: &str = r#"
version = 2
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "PAUSE"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
"#;

/// Where the kubelet finds it.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

/// A containerd that answers.
pub(super) fn start(machine: &Machine, tools: &Path, path: &str) -> Daemon {
    machine.write("/etc/containerd/config.toml", CONFIG.replace("PAUSE", PAUSE));
    let daemon = machine.start(&tools.join("containerd"), &[], &[("PATH", path)], "containerd.log");
    eventually("containerd answers", || {
        assert!(daemon.is_running(), "containerd has ended: {}", daemon.last_words());
        machine.run(&tools.join("ctr"), &["version"]).status.success().then_some(())
    });
    daemon
}

/// Loads images.
pub(super) fn import(machine: &Machine, tools: &Path, images: &[PathBuf]) {
    for image in images {
        let path = image.display().to_string();
        let loaded = machine.run(&tools.join("ctr"), &["--namespace", "k8s.io", "images", "import", &path]);
        assert!(loaded.status.success(), "image {path}: {}", String::from_utf8_lossy(&loaded.stderr));
    }
}
