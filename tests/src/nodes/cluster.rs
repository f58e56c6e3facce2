//! A control plane and its nodes.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kube::ResourceExt;
use tempfile::TempDir;

use super::cgroups::Cgroups;
use super::deployment::Before;
use super::node::{Node, Supplies};
use super::{images, multus, wire};
use crate::kubernetes::{ADMIN, KubernetesApi, assets};
use crate::stale::fresh_folder;
use crate::{GENEROUS, SELDOM, Sandbox};

/// etcd, kube-apiserver, kube-controller-manager and kube-scheduler in a namespace, and nodes in theirs.
#[derive(Debug)]
pub struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) before: Before,
    /// The control plane, reachable from the threads that have entered its namespace.
    pub api: KubernetesApi,
    supplies: Supplies,
    pub(super) control: Sandbox,
    _cgroups: Cgroups,
    pub(super) folder: TempDir,
}

impl Cluster {
    /// Starts one with so many nodes, which are ready.
    pub async fn start(nodes: u8) -> Self {
        let folder = fresh_folder();
        let name = folder.path().file_name().expect("a folder's name").to_string_lossy().into_owned();
        let cgroups = Cgroups::new(&name);
        let control = Sandbox::new(&folder.path().join("netns"), "control");
        wire::lay(&control);
        control.enter_for_good();
        let mut api = KubernetesApi::start_at(wire::CONTROL).await;
        api.start_control_plane();
        api.install_multus_crd().await;
        println!("Multus is {}", multus::program().display());
        let tools = tools();
        let supplies = Supplies {
            images: images::basic(&tools.join("busybox"), folder.path()),
            tools,
            assets: assets(),
            cgroup: cgroups.root(),
            authority: api.authority(),
            endpoint: api.endpoint(),
            token: ADMIN.to_owned(),
        };
        let mut cluster = Self {
            nodes: Vec::new(),
            before: Before::default(),
            api,
            supplies,
            control,
            _cgroups: cgroups,
            folder,
        };
        (0..nodes).for_each(|_| cluster.add_node());
        for node in &cluster.nodes {
            cluster.wait_node_ready(&node.name).await;
        }
        cluster
    }

    /// # Panics
    /// If anything of a Network's attachments is left after a while: a lease, an entry or tombstone in a ledger, a link.
    pub async fn assert_nothing_left(&self, network: &str) {
        let objects = self.api.objects().await;
        let status = objects.get_network(network).await.and_then(|network| network.status);
        let bridge = status.and_then(|status| status.segment?.bridge);
        objects
            .eventually(&format!("nothing is left of {network}"), async || {
                let prefix = format!("{}-", network.replace('/', "."));
                let leases = objects.leases().await.iter().any(|lease| lease.name_any().starts_with(&prefix));
                let files = self.nodes.iter().any(|node| node.mentions(network));
                let links = self.nodes.iter().any(|node| {
                    bridge.as_ref().is_some_and(|bridge| node.machine().network().has_interface(bridge))
                });
                (!leases && !files && !links).then_some(())
            })
            .await;
    }

    /// A folder of its own that its nodes see at the same path.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Its first node.
    pub fn node(&self) -> &Node {
        self.nodes.first().expect("a node")
    }

    /// Takes a node's power away: what is in its memory is gone.
    pub fn power_off(&mut self, node: usize) {
        self.nodes[node].power_off();
    }

    /// Boots it again, with another boot ID, and with a runtime and a kubelet that know nothing of what ran there: no DEL comes.
    pub fn boot(&mut self, node: usize) {
        self.nodes[node].boot_again(&self.control);
    }

    /// Waits until the API server holds a node ready.
    pub async fn wait_node_ready(&self, name: &str) {
        let begin = Instant::now();
        let state = "{.status.conditions[?(@.type=='Ready')].status}";
        while self.api.kubectl(&format!("get node {name} -o jsonpath={state}"), "").out != "True" {
            assert!(begin.elapsed() < GENEROUS, "node {name} is not ready\n{}", self.last_words());
            tokio::time::sleep(SELDOM).await;
        }
    }

    fn add_node(&mut self) {
        let number = u8::try_from(self.nodes.len() + 1).expect("few nodes");
        let folder = self.folder.path().join(format!("n{number}"));
        let shared = [self.folder.path().to_owned()];
        let node = Node::start(&self.control, number, folder, &shared, self.supplies.clone());
        self.nodes.push(node);
    }

    /// What its programs have to say about a failure.
    pub(super) fn last_words(&self) -> String {
        let events = self.api.kubectl("get events --all-namespaces --sort-by=.lastTimestamp", "").out;
        let has = self.api.kubectl("get nodes,nodeinventories --show-labels -o wide", "").out;
        let nodes: String = self.nodes.iter().map(Node::last_words).collect();
        format!("{nodes}{}--- events\n{events}--- nodes\n{has}", self.knap_logs())
    }
}

fn tools() -> PathBuf {
    std::env::var_os("KNAP_NODE_TOOLS").map(PathBuf::from).expect(
        "KNAP_NODE_TOOLS must name a folder with containerd and runc: run this tier by `make test TIERS=node`, or \
         export KNAP_NODE_TOOLS=$(tests/setup/node.sh)",
    )
}
