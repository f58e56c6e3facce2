//! Knap on a cluster, as `kubectl apply -k deploy` puts it there.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use knap_api::class_label;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::node::BOOT_ID;
use super::{images, manifests};
use crate::{GENEROUS, SELDOM, binaries};

/// Where Knap is.
pub const SYSTEM: &str = "knap-system";
/// Where its pods listen.
const RESOLVER_PORT: u16 = 4180;
/// A label in the agents' node selector that no node has.
const NODES_OF_NOBODY: &str = "/spec/template/spec/nodeSelector/knap-tests";
/// The class of a Network of provider `bridge`, where nobody has made one.
const BUILT_IN: &str = "built-in-bridge";

/// What can be seen of a node.
#[derive(Debug, Default)]
pub struct Before {
    /// What is on its disk: [`Node::tree`](super::Node::tree).
    pub tree: BTreeMap<String, String>,
    /// Its links, but loopback.
    pub links: Vec<String>,
    /// Its labels, in JSON.
    pub labels: Value,
}

impl Cluster {
    /// Applies what `deploy/` holds, with images of the programs under test, and waits until all is ready.
    pub async fn deploy(&mut self) {
        let links = self.node().machine().network().interfaces();
        self.before = Before { tree: self.node().tree(), links, labels: self.node_labels() };
        let folder = self.folder.path();
        let made = [
            images::of_programs(folder, "localhost/knap-resolver:0.1.0", &[binaries::knap_resolver()]),
            images::of_programs(
                folder,
                "localhost/knap-node:0.1.0",
                &[binaries::knap_installer(), binaries::knap()],
            ),
        ];
        self.nodes.iter_mut().for_each(|node| node.load(&made));
        self.apply_knap();
        self.wait_knap_ready().await;
    }

    /// Applies the objects alone, once the images are there.
    pub fn apply_knap(&self) {
        let mut objects = self.as_known(manifests::kustomized("deploy"));
        for object in &mut objects {
            if object["kind"] == "DaemonSet" {
                let arguments =
                    object.pointer_mut("/spec/template/spec/containers/0/args").and_then(Value::as_array_mut);
                let arguments = arguments.expect("the agent's arguments");
                // The kernel's boot is that of the outside, and nobody here wants to wait a minute.
                arguments.push(json!(format!("--boot-id-file={BOOT_ID}")));
                arguments.push(json!("--reap-interval=5"));
            }
            // A busy machine is no reason to let a pod pass unasked.
            for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
                webhook["timeoutSeconds"] = json!(30);
            }
        }
        self.apply(&objects);
    }

    /// Applies objects.
    pub fn apply(&self, objects: &[Value]) {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        // Kinds are served a moment after they are defined.
        let begin = Instant::now();
        loop {
            let applied = self.api.kubectl("apply -f -", &list.to_string());
            if applied.success {
                return;
            }
            assert!(begin.elapsed() < GENEROUS, "kubectl apply: {applied:?}");
            std::thread::sleep(SELDOM);
        }
    }

    /// Waits until resolver and agents are ready, the API server asks about what is written, and pods of the built-in class can be
    /// scheduled.
    pub async fn wait_knap_ready(&self) {
        for part in ["deployment/knap-resolver", "daemonset/knap-node"] {
            self.wait_rolled_out(SYSTEM, part).await;
        }
        self.wait_resolvers_reached();
        self.api.objects().await.webhooks_answer().await;
        self.wait_nodes_labelled(BUILT_IN);
    }

    /// Waits until every node says that it can serve a class.
    pub fn wait_nodes_labelled(&self, class: &str) {
        let labelled = format!("get nodes -l {}=true -o name", class_label(class));
        self.api.kubectl_until(&format!("the nodes are labelled by class {class}"), &labelled, |nodes| {
            (nodes.lines().count() == self.nodes.len()).then_some(())
        });
    }

    /// Waits until the Service leads to two resolvers, and to none that is not there: after a reboot, the API server knows for a
    /// while where they were.
    fn wait_resolvers_reached(&self) {
        let addresses = "jsonpath={.subsets[*].addresses[*].ip}";
        let endpoints = format!("get endpoints -n {SYSTEM} knap-resolver -o {addresses}");
        self.api.kubectl_until("both resolvers are reached", &endpoints, |endpoints| {
            let endpoints: Vec<IpAddr> =
                endpoints.split_whitespace().filter_map(|ip| ip.parse().ok()).collect();
            let network = self.node().machine().network();
            let is_there = |ip: &IpAddr| {
                let address = (*ip, RESOLVER_PORT).into();
                network.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
            };
            (endpoints.len() == 2 && endpoints.iter().all(is_there)).then_some(())
        });
    }

    /// Waits until all pods of a Deployment, say, are there and ready.
    pub async fn wait_rolled_out(&self, namespace: &str, workload: &str) {
        let begin = Instant::now();
        while !self.api.kubectl(&format!("rollout status -n {namespace} {workload} --timeout=1s"), "").success
        {
            assert!(
                begin.elapsed() < GENEROUS,
                "{workload} is not ready: {}",
                self.api.kubectl(&format!("describe pods -n {namespace}"), "").out
            );
            tokio::time::sleep(SELDOM).await;
        }
    }

    /// Ends the agents, and waits until none is left.
    pub fn stop_agents(&self) {
        let nowhere = json!([{ "op": "add", "path": NODES_OF_NOBODY, "value": "none" }]);
        self.patch_agents(&nowhere);
        self.wait_gone("knap-node");
    }

    /// Starts agents again, and waits until they are ready.
    pub async fn start_agents(&self) {
        self.patch_agents(&json!([{ "op": "remove", "path": NODES_OF_NOBODY }]));
        self.wait_knap_ready().await;
    }

    /// Changes the agents' DaemonSet by a JSON patch.
    pub fn patch_agents(&self, patch: &Value) {
        let patch = format!("patch daemonset -n {SYSTEM} knap-node --type=json --patch={patch}");
        self.api.kubectl_ok(&patch, "");
    }

    /// Ends every resolver, and waits until none is left.
    pub fn stop_resolver(&self) {
        self.api.kubectl_ok(&format!("scale -n {SYSTEM} deployment/knap-resolver --replicas=0"), "");
        self.wait_gone("knap-resolver");
    }

    fn wait_gone(&self, name: &str) {
        let pods = format!("get pods -n {SYSTEM} -l app.kubernetes.io/name={name} -o name");
        let what = format!("the pods of {name} end");
        self.api.kubectl_until(&what, &pods, |pods| pods.is_empty().then_some(()));
    }

    /// Starts resolvers again.
    pub async fn start_resolver(&self) {
        self.api.kubectl_ok(&format!("scale -n {SYSTEM} deployment/knap-resolver --replicas=2"), "");
        self.wait_knap_ready().await;
    }

    /// What the first node was before Knap came.
    pub fn before_knap(&self) -> &Before {
        &self.before
    }

    /// The labels of the first node, in JSON.
    pub fn node_labels(&self) -> Value {
        let labels = format!("get node {} -o jsonpath={{.metadata.labels}}", self.node().name);
        serde_json::from_str(&self.api.kubectl_ok(&labels, "")).expect("labels in JSON")
    }

    /// # Panics
    /// If the API server has refused something to the resolver.
    pub fn assert_never_forbidden(&self) {
        let logs = format!("logs -n {SYSTEM} -l app.kubernetes.io/name=knap-resolver --tail=-1");
        let logs = self.api.kubectl_ok(&logs, "");
        let refused: Vec<&str> = logs.lines().filter(|line| line.contains("orbidden")).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }

    /// What this API server, which may be an old one, can be given of objects: no kinds that it does not have, and webhooks without
    /// match conditions before Kubernetes 1.30.
    pub fn as_known(&self, mut objects: Vec<Value>) -> Vec<Value> {
        let conditions = "explain validatingwebhookconfigurations.webhooks.matchConditions";
        if !self.api.kubectl(conditions, "").success {
            println!("this API server does not know match conditions: webhooks are applied without them");
            let without = manifests::webhooks("--without-match-conditions");
            for object in &mut objects {
                let other =
                    without.iter().find(|other| manifests::identity(other) == manifests::identity(object));
                other.into_iter().for_each(|other| object.clone_from(other));
            }
        }
        objects.retain(|object| self.knows(object));
        objects
    }

    /// Whether this API server, which may be an old one, has an object's kind; it says so where not.
    pub fn knows(&self, object: &Value) -> bool {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let known = self.api.kubectl_ok("api-versions", "").lines().any(|line| line == version)
            || version.starts_with("knap.github.com/");
        if !known {
            let (kind, name) = manifests::identity(object);
            println!(
                "this API server does not know {version}: {kind} {name} is checked by the client's types alone"
            );
        }
        known
    }

    /// What Knap's own programs have logged.
    pub(super) fn knap_logs(&self) -> String {
        ["knap-resolver", "knap-node"]
            .map(|name| {
                let logs = format!("logs -n {SYSTEM} -l app.kubernetes.io/name={name} --tail=60");
                let pods = format!("describe pods -n {SYSTEM} -l app.kubernetes.io/name={name}");
                let (logs, pods) = (self.api.kubectl(&logs, "").out, self.api.kubectl(&pods, "").out);
                format!("--- {name}\n{pods}\n{logs}\n")
            })
            .concat()
    }
}
