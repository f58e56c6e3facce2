//! One node.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::machine::Machine;
use super::{containerd, kubelet, multus, wire};
use crate::kubernetes::daemon::Daemon;
use crate::{LedgerView, Sandbox};

/// What every node of a cluster gets from outside.
#[derive(Debug, Clone)]
pub(super) struct Supplies {
    /// containerd, runc, busybox.
    pub(super) tools: PathBuf,
    /// kubelet, kube-proxy.
    pub(super) assets: PathBuf,
    /// Tars.
    pub(super) images: Vec<PathBuf>,
    /// The group that has this cluster's pods.
    pub(super) cgroup: String,
    /// The API server's certificate.
    pub(super) authority: String,
    /// How the API server is reached, with these tokens.
    pub(super) endpoint: String,
    pub(super) token: String,
}

/// A machine with containerd, kubelet, kube-proxy, and Multus over a bridge of its own.
#[derive(Debug)]
pub struct Node {
    /// Its name in the cluster.
    pub name: String,
    number: u8,
    boots: u32,
    daemons: Vec<Daemon>,
    machine: Machine,
    supplies: Supplies,
}

impl Node {
    /// Boots one. It is not ready yet.
    pub(super) fn start(
        control: &Sandbox,
        number: u8,
        folder: PathBuf,
        shared: &[PathBuf],
        supplies: Supplies,
    ) -> Self {
        let shared = [shared, &[supplies.tools.clone(), supplies.assets.clone()]].concat();
        let machine = Machine::new(folder, shared);
        let mut node =
            Self { name: format!("n{number}"), number, boots: 1, daemons: Vec::new(), machine, supplies };
        node.write_access();
        multus::install(&node.machine, number);
        node.set_boot_id(node.boots);
        node.boot(control);
        node
    }

    /// Its machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Knap's ledger on it.
    pub fn ledger(&self) -> LedgerView {
        LedgerView::new(&self.machine.path("/var/lib/knap-node"))
    }

    /// Whether Knap's ledger on it has anything of a Network, dead or alive.
    pub(super) fn mentions(&self, network: &str) -> bool {
        let ledger = self.ledger();
        let files = ledger.traces().into_iter().map(|file| ledger.folder().join(file));
        files
            .filter_map(|file| fs::read_to_string(file).ok())
            .any(|text| text.contains(&format!("\"{network}\"")))
    }

    /// Loads more images, now and whenever it boots.
    pub(super) fn load(&mut self, images: &[PathBuf]) {
        containerd::import(&self.machine, &self.supplies.tools, images);
        self.supplies.images.extend_from_slice(images);
    }

    /// Takes its power away.
    pub(super) fn power_off(&mut self) {
        self.daemons.clear();
        self.machine.power_off();
    }

    /// Boots it again under another boot ID, without what runtime, kubelet and Multus kept on disk.
    pub(super) fn boot_again(&mut self, control: &Sandbox) {
        for forgotten in RUNTIME_STATE {
            let _ = fs::remove_dir_all(self.machine.path(forgotten));
        }
        self.boots += 1;
        self.set_boot_id(self.boots);
        self.boot(control);
    }

    /// Every file and folder of its disk that is not the runtime's, the kubelet's or Multus': its mode, and what is in it.
    pub fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        for top in ["etc", "opt", "root", "var"] {
            look(&self.machine.path("/"), Path::new(top), &mut tree);
        }
        tree
    }

    /// The last lines of what its programs logged.
    pub(super) fn last_words(&self) -> String {
        ["containerd.log", "kubelet.log", "kube-proxy.log"]
            .map(|log| {
                let text = self.machine.log(log);
                let lines: Vec<&str> = text.lines().collect();
                format!(
                    "--- {} of {}\n{}\n",
                    log,
                    self.name,
                    lines[lines.len().saturating_sub(40)..].join("\n")
                )
            })
            .concat()
    }

    fn boot(&mut self, control: &Sandbox) {
        self.machine.boot();
        wire::join(control, self.machine.network(), &self.name, self.number);
        let Supplies { tools, assets, images, cgroup, .. } = &self.supplies;
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", tools.display());
        self.daemons.push(containerd::start(&self.machine, tools, &path));
        containerd::import(&self.machine, tools, images);
        let address = wire::address(self.number);
        self.daemons.push(kubelet::start(&self.machine, assets, &path, &self.name, address, cgroup));
        self.daemons.push(kubelet::start_proxy(&self.machine, assets, &path, &self.name));
    }

    fn set_boot_id(&self, number: u32) {
        self.machine.write(BOOT_ID, format!("7a1c6f0e-0000-4000-8{:03}-{number:012}\n", self.number));
    }

    fn write_access(&self) {
        self.machine.write("/etc/kubernetes/ca.crt", &self.supplies.authority);
        // JSON is YAML too.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "node",
            "clusters": [{ "name": "node", "cluster": {
                "server": self.supplies.endpoint, "certificate-authority": "/etc/kubernetes/ca.crt",
            } }],
            "users": [{ "name": "node", "user": { "token": self.supplies.token } }],
            "contexts": [{ "name": "node", "context": { "cluster": "node", "user": "node" } }],
        });
        self.machine.write(kubelet::KUBECONFIG, config.to_string());
    }
}

/// What a node's own programs keep on disk.
const RUNTIME_STATE: [&str; 7] = [
    "/var/lib/cni/cache",
    "/var/lib/cni/multus",
    "/var/lib/cni/networks",
    "/var/lib/cni/results",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log",
];

fn look(disk: &Path, inside: &Path, tree: &mut BTreeMap<String, String>) {
    let name = format!("/{}", inside.display());
    if RUNTIME_STATE.contains(&name.as_str()) || name == BOOT_ID {
        return;
    }
    let path = disk.join(inside);
    let Ok(metadata) = path.symlink_metadata() else { return };
    let mut content = DefaultHasher::new();
    content.write(&fs::read(&path).unwrap_or_default());
    tree.insert(name, format!("{:o} {:x}", metadata.mode(), content.finish()));
    if metadata.is_dir() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            look(disk, &inside.join(entry.file_name()), tree);
        }
    }
}

/// Read by test builds of Knap instead of the kernel's, which is that of the outside.
pub(super) const BOOT_ID: &str = "/var/lib/knap-tests/boot_id";
