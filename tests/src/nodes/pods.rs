//! Pods of a test.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::images::BUSYBOX;
use crate::{GENEROUS, SELDOM};

const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

impl Cluster {
    /// Asks for a pod `namespace/name` with these annotations, which sleeps; it may run anywhere.
    pub fn create_pod(&self, pod: &str, annotations: &Value) {
        let (namespace, name) = split(pod);
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": namespace, "annotations": annotations },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{ "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never" }],
            },
        });
        // A namespace's account is made a moment after the namespace.
        let begin = Instant::now();
        loop {
            let created = self.api.kubectl("create -f -", &object.to_string());
            if created.success {
                return;
            }
            let early = created.err.to_lowercase().contains("service account");
            assert!(early && begin.elapsed() < GENEROUS, "kubectl create of pod {pod}: {created:?}");
            std::thread::sleep(SELDOM);
        }
    }

    /// Waits until a pod is ready; the pod.
    pub async fn pod_ready(&self, pod: &str) -> Pod {
        let (namespace, name) = split(pod);
        let pods = Api::<Pod>::namespaced(self.api.client().await, namespace);
        let begin = Instant::now();
        loop {
            let found = pods.get_opt(name).await.expect("an answer");
            let ready = found.as_ref().and_then(|pod| pod.status.as_ref()?.conditions.as_ref()).is_some_and(
                |conditions| {
                    conditions
                        .iter()
                        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
                },
            );
            if let Some(found) = found.filter(|_| ready) {
                return found;
            }
            assert!(
                begin.elapsed() < GENEROUS,
                "pod {pod} is not ready: {}",
                self.api.kubectl(&format!("describe pod -n {namespace} {name}"), "").out
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Deletes a pod, without a word to its containers: its node removes them and its interfaces after this.
    pub fn delete_pod(&self, pod: &str) {
        let (namespace, name) = split(pod);
        self.api.kubectl_ok(&format!("delete pod -n {namespace} {name} --wait=true --timeout=180s"), "");
    }

    /// Runs a command in a pod; what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn exec(&self, pod: &str, command: &str) -> String {
        let (namespace, name) = split(pod);
        self.api.kubectl_ok(&format!("exec -n {namespace} {name} -- {command}"), "")
    }

    /// The addresses that the kernel has on an interface in a pod, with their prefix lengths.
    ///
    /// # Panics
    /// If the pod does not run, or has no such interface.
    pub fn addresses(&self, pod: &str, interface: &str) -> Vec<String> {
        read_addresses(&self.exec(pod, &show_addresses(interface)))
    }

    /// The same, as long as the pod is not known to run.
    pub fn addresses_if_it_runs(&self, pod: &str, interface: &str) -> Option<Vec<String>> {
        let (namespace, name) = split(pod);
        let shown = format!("exec -n {namespace} {name} -- {}", show_addresses(interface));
        let shown = self.api.kubectl(&shown, "");
        shown.success.then(|| read_addresses(&shown.out))
    }

    /// The names of a pod's interfaces, sorted.
    pub fn interfaces(&self, pod: &str) -> Vec<String> {
        let mut names: Vec<_> =
            self.exec(pod, "ls /sys/class/net").split_whitespace().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Whether an address answers a pod.
    pub fn reaches(&self, pod: &str, address: &str) -> bool {
        let (namespace, name) = split(pod);
        let address = crate::bare(address);
        self.api.kubectl(&format!("exec -n {namespace} {name} -- ping -c 3 -W 3 -q {address}"), "").success
    }
}

/// What Multus wrote into a pod of its networks, the default one first.
pub fn network_status(pod: &Pod) -> Vec<Value> {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(STATUS));
    serde_json::from_str(text.map_or("[]", String::as_str)).expect("a list in JSON")
}

fn show_addresses(interface: &str) -> String {
    format!("ip -o address show dev {interface} scope global")
}

fn read_addresses(shown: &str) -> Vec<String> {
    let lines = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter_map(|words| words.get(3).map(|address| (*address).to_owned())).collect()
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('/').expect("namespace/name")
}
