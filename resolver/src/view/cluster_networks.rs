//! The networks that the cluster itself uses, gathered from all who know of some.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Node;
use knap_core::{ClusterNetwork, ClusterNetworks};
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::store::WatchEvent;

/// All that is known of them, by who said so.
#[derive(Debug, Default)]
pub(super) struct KnownNetworks {
    said: Mutex<BTreeMap<&'static str, Vec<ClusterNetwork>>>,
    /// Who is still to say something.
    awaited: Mutex<BTreeSet<&'static str>>,
    all: ArcSwap<ClusterNetworks>,
}

impl KnownNetworks {
    pub(super) fn all(&self) -> Arc<ClusterNetworks> {
        self.all.load_full()
    }

    /// Waits for what `who` says.
    pub(super) fn await_word(&self, who: &'static str) {
        self.awaited.lock().insert(who);
    }

    /// Waits for it no longer. False if nobody did.
    pub(super) fn go_on(&self, who: &str) -> bool {
        self.awaited.lock().remove(who)
    }

    /// Whether all have spoken.
    pub(super) fn is_complete(&self) -> bool {
        self.awaited.lock().is_empty()
    }

    /// Replaces what `who` has said before. False if it is the same.
    pub(super) fn replace(&self, who: &'static str, networks: Vec<ClusterNetwork>) -> bool {
        let mut said = self.said.lock();
        if said.get(who).map(Vec::as_slice).unwrap_or_default() == networks {
            return false;
        }
        said.insert(who, networks);
        self.all.store(Arc::new(ClusterNetworks::new(said.values().flatten().cloned())));
        true
    }
}

/// The pods' networks of nodes, and the nodes' addresses.
#[derive(Debug, Default)]
pub(super) struct NodeNetworks {
    by_node: BTreeMap<String, Vec<ClusterNetwork>>,
    /// A watch has begun anew, and not told everything yet.
    partial: bool,
    changed: bool,
}

impl NodeNetworks {
    /// Learns what an event of the watch says.
    pub(super) fn take(&mut self, event: &WatchEvent<Node>) {
        match event {
            WatchEvent::Restarted => {
                self.by_node.clear();
                self.partial = true;
                self.changed = true;
            }
            WatchEvent::Current => self.partial = false,
            WatchEvent::Existing(node) | WatchEvent::Applied(node) => {
                let networks = networks_of(node);
                let before = self.by_node.insert(node.name_any(), networks.clone());
                self.changed |= before.as_ref() != Some(&networks);
            }
            WatchEvent::Deleted(node) => self.changed |= self.by_node.remove(&node.name_any()).is_some(),
        }
    }

    /// All of them, if there is something new to tell.
    pub(super) fn news(&mut self) -> Option<Vec<ClusterNetwork>> {
        if self.partial || !std::mem::take(&mut self.changed) {
            return None;
        }
        Some(self.by_node.values().flatten().cloned().collect())
    }
}

fn networks_of(node: &Node) -> Vec<ClusterNetwork> {
    let name = node.name_any();
    let spec = node.spec.iter();
    let cidrs = spec.flat_map(|spec| spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr));
    let pods = cidrs.filter_map(|cidr| cidr.parse().ok());
    let mut networks: Vec<ClusterNetwork> =
        pods.map(|cidr| ClusterNetwork { cidr, what: format!("the pod network of node {name}") }).collect();
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let addresses = addresses.filter(|address| matches!(&*address.type_, "InternalIP" | "ExternalIP"));
    networks.extend(addresses.filter_map(|address| address.address.parse().ok()).map(|address: IpAddr| {
        ClusterNetwork { cidr: IpNetwork::from(address), what: format!("an address of node {name}") }
    }));
    networks
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, spec: &Value, addresses: &Value) -> Node {
        let node = json!({"metadata": {"name": name}, "spec": spec, "status": {"addresses": addresses}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn a_node_has_addresses_and_pods() {
        let addresses = json!([
            {"type": "InternalIP", "address": "192.0.2.10"}, {"type": "Hostname", "address": "n1"},
            {"type": "InternalIP", "address": "nonsense"}
        ]);
        let spec = json!({"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"]});
        let networks = networks_of(&node("n1", &spec, &addresses));
        let cidrs: Vec<String> = networks.iter().map(|network| network.cidr.to_string()).collect();
        assert_eq!(cidrs, ["10.244.1.0/24", "fd00:10:244:1::/64", "10.244.1.0/24", "192.0.2.10/32"]);
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut nodes = NodeNetworks::default();
        let n1 = node("n1", &json!({"podCIDR": "10.244.1.0/24"}), &json!([]));
        let events = [WatchEvent::Restarted, WatchEvent::Existing(n1.clone())];
        events.iter().for_each(|event| nodes.take(event));
        assert_eq!(nodes.news(), None, "half of it");
        nodes.take(&WatchEvent::Current);
        assert_eq!(nodes.news().map(|all| all.len()), Some(1));
        nodes.take(&WatchEvent::Applied(n1.clone()));
        assert_eq!(nodes.news(), None, "a heartbeat");
        nodes.take(&WatchEvent::Deleted(n1));
        assert_eq!(nodes.news().map(|all| all.len()), Some(0));
    }

    #[test]
    fn what_one_says_does_not_replace_what_another_has_said() {
        let known = KnownNetworks::default();
        let network = |cidr: &str| ClusterNetwork { cidr: cidr.parse().unwrap(), what: "x".to_owned() };
        assert!(known.replace("flags", vec![network("10.0.0.0/16")]));
        assert!(known.replace("nodes", vec![network("10.1.0.0/16")]));
        assert!(!known.replace("nodes", vec![network("10.1.0.0/16")]));
        assert!(known.all().around("10.0.7.0/24".parse().unwrap()).is_some());
        assert!(known.replace("nodes", Vec::new()));
        assert!(known.all().around("10.1.7.0/24".parse().unwrap()).is_none());
    }
}
