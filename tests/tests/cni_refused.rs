//! What the resolver refuses, as the plugin's caller sees it: code, message, nothing left.

use std::process::Command;
use std::time::{Duration, Instant};

use knap_tests::{Answer, Call, Host, Sandbox, binaries, eventually, network, recorded_class, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

fn class(name: &str, spec: &Value) -> String {
    let mut class = json!({
        "apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": { "name": name },
        "spec": { "provider": "cni", "parameters": { "plugins": [{ "type": "first", "ipam": { "type": "knap" } }] },
                  "subnets": [{ "cidr": "10.64.0.0/16", "prefixLength": 24 }, { "cidr": "10.99.0.0/16", "prefixLength": 24 }] },
    });
    class["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    class.to_string()
}

fn any_network(name: &str, spec: &Value) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    let metadata = json!({ "namespace": namespace, "name": name });
    json!({ "apiVersion": "knap.github.com/v1alpha1", "kind": "Network", "metadata": metadata, "spec": spec })
        .to_string()
}

fn namespace(name: &str, labels: &Value) -> String {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
        .to_string()
}

/// A machine with one sandbox for all its pods: recording delegates make no interfaces.
struct Machine {
    // Before its host, whose folder it lies in: fields are dropped in this order.
    pod: Sandbox,
    host: Host,
}

impl Machine {
    /// Starts it with these manifests, and waits until each Network has been decided upon.
    fn new(manifests: &[String]) -> Self {
        let host = Host::start(manifests, &["first"]);
        for manifest in manifests {
            let object: Value = serde_json::from_str(manifest).unwrap();
            let metadata = &object["metadata"];
            if let (Some("Network"), Some(namespace), Some(name)) =
                (object["kind"].as_str(), metadata["namespace"].as_str(), metadata["name"].as_str())
            {
                eventually(&format!("{namespace}/{name} is decided upon"), || {
                    let view = host.resolver.network(&format!("{namespace}/{name}"));
                    view.filter(|view| view.ready || view.message.is_some())
                });
            }
        }
        let pod = host.pod("pod");
        Self { pod, host }
    }

    /// ADD for a pod of a namespace. A refused one has left no entry and run nothing.
    fn add(&self, container: &str, network: &str, namespace: &str) -> Answer {
        let call = Call::add(container, &self.pod, &thin_config(network, "1.0.0"));
        let answer = call.pod(namespace, container, &format!("uid-of-{container}")).run(&self.host);
        if answer.status != Some(0) {
            assert!(self.host.ledger.entry(container, "net1").is_none(), "an entry of a refused ADD is left");
            assert!(self.host.delegates.calls().iter().all(|call| call.env("CNI_CONTAINERID") != container));
        }
        answer
    }

    /// Waits until a Network is refused; with what message.
    fn refusal(&self, network: &str) -> String {
        eventually(&format!("{network} is refused"), || {
            self.host.resolver.network(network).filter(|view| !view.ready).and_then(|view| view.message)
        })
    }
}

#[rstest]
fn an_unknown_network(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    Call::add("c1", &pod, &thin_config("shop/green", version)).run(&host).fails(7, &["shop/green"]);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_network_that_is_not_shared_with_the_pods_namespace() {
    let machine =
        Machine::new(&[class("test", &json!({ "allowSharing": true })), network("shop/blue", &json!({}))]);
    machine.add("c1", "shop/blue", "bank").fails(7, &["shop/blue", "bank"]);
    machine.host.assert_nothing_left("shop/blue");
}

#[test]
fn a_network_shared_with_some_namespaces() {
    let shared = json!({ "sharedWith": { "namespaceSelector": { "matchLabels": { "team": "red" } } } });
    let manifests = [
        class("test", &json!({ "allowSharing": true })),
        network("shop/blue", &shared),
        namespace("bank", &json!({ "team": "red" })),
        namespace("zoo", &json!({ "team": "green" })),
        namespace("shop", &json!({})),
    ];
    let machine = Machine::new(&manifests);
    machine.add("c1", "shop/blue", "bank").result();
    machine.add("c2", "shop/blue", "shop").result();
    machine.add("c3", "shop/blue", "zoo").fails(7, &["shop/blue", "zoo"]);
    assert_eq!(machine.host.resolver.leases("shop/blue").len(), 2);
}

#[test]
fn sharing_that_the_class_does_not_allow() {
    let shared = json!({ "sharedWith": { "namespaceSelector": {} } });
    let machine = Machine::new(&[class("test", &json!({})), network("shop/blue", &shared)]);
    machine.add("c1", "shop/blue", "bank").error();
    machine.host.assert_nothing_left("shop/blue");
}

#[rstest]
fn a_full_subnet(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let manifests = [
        class("test", &json!({ "allowRequestedSubnets": true })),
        network("shop/blue", &json!({ "subnets": ["10.99.0.0/30"] })),
    ];
    let machine = Machine::new(&manifests);
    let config = thin_config("shop/blue", version);
    let pods = [machine.host.pod("a"), machine.host.pod("b"), machine.host.pod("c")];
    Call::add("c1", &pods[0], &config).run(&machine.host).result();
    let second = Call::add("c2", &pods[1], &config).run(&machine.host).addresses();
    Call::add("c3", &pods[2], &config).run(&machine.host).fails(11, &["shop/blue", "no free address"]);
    assert_eq!(machine.host.ledger.entries().len(), 2);
    // What is freed can be had again.
    Call::del("c2", &pods[1], &config).run(&machine.host).quiet();
    assert_eq!(Call::add("c3", &pods[2], &config).run(&machine.host).addresses(), second);
}

#[test]
fn an_unknown_class() {
    let machine =
        Machine::new(&[class("test", &json!({})), any_network("shop/blue", &json!({ "class": "gold" }))]);
    machine.add("c1", "shop/blue", "shop").fails(7, &["shop/blue", "gold"]);
    machine.host.assert_nothing_left("shop/blue");
}

#[test]
fn an_unknown_provider() {
    let machine = Machine::new(&[any_network("shop/blue", &json!({ "provider": "carrier-pigeon" }))]);
    machine.add("c1", "shop/blue", "shop").fails(7, &["shop/blue", "carrier-pigeon"]);
    machine.host.assert_nothing_left("shop/blue");
}

#[test]
fn a_class_without_the_features_asked_for() {
    let spec = json!({ "class": "test", "requires": { "isolation": true, "mtu": 9000 } });
    let machine = Machine::new(&[
        class("test", &json!({ "features": { "isolation": true } })),
        any_network("shop/blue", &spec),
    ]);
    machine.add("c1", "shop/blue", "shop").fails(7, &["shop/blue", "test", "mtu"]);
    machine.host.assert_nothing_left("shop/blue");
}

#[test]
fn features_that_no_class_offers() {
    let spec = json!({ "requires": { "hardwareAcceleration": true } });
    let machine = Machine::new(&[class("test", &json!({})), any_network("shop/blue", &spec)]);
    machine.add("c1", "shop/blue", "shop").fails(7, &["shop/blue", "hardwareAcceleration"]);
    machine.host.assert_nothing_left("shop/blue");
}

#[test]
fn class_and_provider_that_contradict() {
    let spec = json!({ "class": "test", "provider": "macvlan" });
    let machine = Machine::new(&[class("test", &json!({})), any_network("shop/blue", &spec)]);
    machine.add("c1", "shop/blue", "shop").fails(7, &["shop/blue", "test", "macvlan"]);
    machine.host.assert_nothing_left("shop/blue");
}

#[test]
fn no_class_at_all_and_none_marked_default() {
    let machine = Machine::new(&[class("test", &json!({})), any_network("shop/blue", &json!({}))]);
    machine.add("c1", "shop/blue", "shop").fails(7, &["shop/blue", "default"]);
    machine.host.assert_nothing_left("shop/blue");
}

#[test]
fn several_classes_marked_default() {
    let marked = |name: &str| {
        let mut class: Value = serde_json::from_str(&class(name, &json!({}))).unwrap();
        class["metadata"]["annotations"] = json!({ "knap.github.com/is-default-class": "true" });
        class.to_string()
    };
    let machine = Machine::new(&[marked("one"), marked("two"), any_network("shop/blue", &json!({}))]);
    machine.add("c1", "shop/blue", "shop").fails(7, &["shop/blue", "one", "two"]);
    machine.host.assert_nothing_left("shop/blue");
}

#[test]
fn a_class_that_the_namespace_may_not_use() {
    let access = json!({ "access": { "namespaceSelector": { "matchLabels": { "team": "red" } } } });
    let manifests = [
        class("test", &access),
        namespace("shop", &json!({ "team": "green" })),
        namespace("bank", &json!({ "team": "red" })),
        network("shop/blue", &json!({})),
        network("bank/blue", &json!({})),
    ];
    let machine = Machine::new(&manifests);
    machine.add("c1", "shop/blue", "shop").fails(7, &["shop/blue", "test"]);
    machine.add("c2", "bank/blue", "bank").result();
}

#[test]
fn more_attachments_than_the_namespace_may_have() {
    let access = json!({ "access": { "attachmentsPerNamespace": 2 } });
    let machine = Machine::new(&[class("test", &access), network("shop/blue", &json!({}))]);
    machine.add("c1", "shop/blue", "shop").result();
    machine.add("c2", "shop/blue", "shop").result();
    machine.add("c3", "shop/blue", "shop").fails(7, &["shop", "2"]);
    let config = thin_config("shop/blue", "1.0.0");
    Call::new("DEL", "c1", &config).run(&machine.host).quiet();
    machine.add("c4", "shop/blue", "shop").result();
}

#[test]
fn more_networks_than_the_namespace_may_have() {
    let access = json!({ "access": { "networksPerNamespace": 1 } });
    let machine = Machine::new(&[class("test", &access), network("shop/blue", &json!({}))]);
    machine.host.resolver.wait_ready("shop/blue");
    machine.host.resolver.write_manifest("later.yaml", &network("shop/red", &json!({})));
    machine.refusal("shop/red");
    machine.add("c1", "shop/red", "shop").fails(7, &["shop/red"]);
    machine.add("c2", "shop/blue", "shop").result();
}

#[test]
fn a_requested_subnet_that_overlaps_another_networks() {
    let manifests = [
        class("test", &json!({ "allowRequestedSubnets": true })),
        network("shop/blue", &json!({ "subnets": ["10.99.0.0/24"] })),
    ];
    let machine = Machine::new(&manifests);
    machine
        .host
        .resolver
        .write_manifest("later.yaml", &network("shop/red", &json!({ "subnets": ["10.99.0.128/25"] })));
    let message = machine.refusal("shop/red");
    assert!(message.contains("shop/blue") && message.contains("10.99.0.0/24"), "{message}");
    let error = machine.add("c1", "shop/red", "shop").error();
    assert!(error.msg.contains("shop/red") && error.msg.contains("shop/blue"), "{error:?}");
    machine.add("c2", "shop/blue", "shop").result();
}

#[test]
fn requested_subnets_that_the_class_does_not_allow() {
    let machine = Machine::new(&[
        class("test", &json!({})),
        network("shop/blue", &json!({ "subnets": ["10.99.0.0/24"] })),
    ]);
    machine.add("c1", "shop/blue", "shop").fails(7, &["shop/blue"]);
    machine.host.assert_nothing_left("shop/blue");
}

#[test]
fn a_broken_manifest_is_named_and_the_rest_keeps_serving() {
    let host = Host::recorded();
    host.resolver.write_manifest("broken.yaml", "kind: Network\n  metadata: [\n");
    let status = eventually("the broken file is named", || {
        host.resolver.status().filter(|status| !status.broken_manifests.is_empty())
    });
    assert!(status.broken_manifests[0].contains("broken.yaml"), "{status:?}");
    host.resolver.wait_logged("broken.yaml");
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    let plan = |file: &str| {
        let mut command = Command::new(binaries::knap_resolver());
        command.args(["plan", "-f", file]).arg("--manifests").arg(host.resolver.manifests());
        let output = command.output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let good = host.resolver.manifests().join("01.yaml");
    assert!(plan(good.to_str().unwrap()).contains("broken.yaml"), "{}", plan(good.to_str().unwrap()));
    // It also starts with the broken file there.
    host.resolver.stop();
    host.resolver.start();
    host.resolver.wait_ready("shop/blue");
    host.resolver.remove_manifest("broken.yaml");
    eventually("the file is forgotten", || {
        host.resolver.status().filter(|status| status.broken_manifests.is_empty())
    });
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_manifest_that_breaks_does_not_remove_what_it_held() {
    let host = Host::recorded();
    host.resolver.write_manifest("01.yaml", "kind: [");
    eventually("the broken file is named", || {
        host.resolver.status().filter(|status| !status.broken_manifests.is_empty())
    });
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    Call::del("c1", &pod, &config).run(&host).quiet();
}

#[test]
fn a_new_manifest_serves_within_a_second() {
    let machine = Machine::new(&[recorded_class(&["first"])]);
    let took = |number: usize| {
        let (file, name) = (format!("late-{number}.yaml"), format!("shop/late-{number}"));
        let begin = Instant::now();
        machine.host.resolver.write_manifest(&file, &network(&name, &json!({})));
        machine.host.resolver.wait_ready(&name);
        machine.add(&format!("c{number}"), &name, "shop").result();
        begin.elapsed()
    };
    // The best of five: what else the machine does is not what is tested.
    let times: Vec<Duration> = (0..5).map(took).collect();
    assert!(times.iter().any(|time| *time < Duration::from_secs(2)), "{times:?}");
}
