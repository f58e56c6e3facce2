//! What the resolver refuses, as the plugin's caller sees it: code, message, nothing left.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use knap_tests::{Call, Host, binaries, eventually, network, recorded_class, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

fn class(name: &str, spec: &Value) -> String {
    let mut class = json!({
        "apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": { "name": name },
        "spec": { "provider": "cni", "parameters": { "plugins": [{ "type": "first", "ipam": { "type": "knap" } }] },
                  "subnets": [{ "cidr": "10.64.0.0/16", "prefixLength": 24 }] },
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

/// Starts a host with these manifests, and waits until each has been decided upon.
fn host(manifests: &[String]) -> Host {
    let host = Host::start(manifests, &["first"]);
    for manifest in manifests {
        let object: Value = serde_json::from_str(manifest).unwrap();
        if object["kind"] == "Network" {
            let metadata = &object["metadata"];
            let name =
                format!("{}/{}", metadata["namespace"].as_str().unwrap(), metadata["name"].as_str().unwrap());
            eventually(&format!("{name} is decided upon"), || {
                host.resolver.network(&name).filter(|view| view.ready || view.message.is_some())
            });
        }
    }
    host
}

/// ADD for a pod of a namespace.
fn add(host: &Host, container: &str, network: &str, namespace: &str) -> knap_tests::Answer {
    let pod = host.pod(&format!("{container}-sandbox"));
    let call = Call::add(container, &pod, &thin_config(network, "1.0.0"));
    let answer = call.pod(namespace, container, "u-1").run(host);
    if answer.status != Some(0) {
        assert!(host.ledger.entry(container, "net1").is_none(), "an entry of a refused ADD is left");
        assert!(host.delegates.calls().iter().all(|call| call.env("CNI_CONTAINERID") != container));
    }
    answer
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
    let host = host(&[class("test", &json!({ "allowSharing": true })), network("shop/blue", &json!({}))]);
    add(&host, "c1", "shop/blue", "bank").fails(7, &["shop/blue", "bank"]);
    host.assert_nothing_left("shop/blue");
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
    let host = host(&manifests);
    add(&host, "c1", "shop/blue", "bank").result();
    add(&host, "c2", "shop/blue", "shop").result();
    add(&host, "c3", "shop/blue", "zoo").fails(7, &["shop/blue", "zoo"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 2);
}

#[test]
fn sharing_that_the_class_does_not_allow() {
    let shared = json!({ "sharedWith": { "namespaceSelector": {} } });
    let host = host(&[class("test", &json!({})), network("shop/blue", &shared)]);
    add(&host, "c1", "shop/blue", "bank").error();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn a_full_subnet(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let manifests = [
        class("test", &json!({ "allowRequestedSubnets": true })),
        network("shop/blue", &json!({ "subnets": ["10.99.0.0/30"] })),
    ];
    let host = host(&manifests);
    let config = thin_config("shop/blue", version);
    let pods = [host.pod("a"), host.pod("b"), host.pod("c")];
    Call::add("c1", &pods[0], &config).run(&host).result();
    let second = Call::add("c2", &pods[1], &config).run(&host).addresses();
    Call::add("c3", &pods[2], &config).run(&host).fails(11, &["shop/blue", "10.99.0.0/30"]);
    assert_eq!(host.ledger.entries().len(), 2);
    // What is freed can be had again.
    Call::del("c2", &pods[1], &config).run(&host).quiet();
    assert_eq!(Call::add("c3", &pods[2], &config).run(&host).addresses(), second);
}

#[test]
fn an_unknown_class() {
    let host = host(&[class("test", &json!({})), any_network("shop/blue", &json!({ "class": "gold" }))]);
    add(&host, "c1", "shop/blue", "shop").fails(7, &["shop/blue", "gold"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn an_unknown_provider() {
    let host = host(&[any_network("shop/blue", &json!({ "provider": "carrier-pigeon" }))]);
    add(&host, "c1", "shop/blue", "shop").fails(7, &["shop/blue", "carrier-pigeon"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_class_without_the_features_asked_for() {
    let spec = json!({ "class": "test", "requires": { "isolation": true, "mtu": 9000 } });
    let host = host(&[
        class("test", &json!({ "features": { "isolation": true } })),
        any_network("shop/blue", &spec),
    ]);
    add(&host, "c1", "shop/blue", "shop").fails(7, &["shop/blue", "test", "mtu"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn features_that_no_class_offers() {
    let spec = json!({ "requires": { "hardwareAcceleration": true } });
    let host = host(&[class("test", &json!({})), any_network("shop/blue", &spec)]);
    add(&host, "c1", "shop/blue", "shop").fails(7, &["shop/blue", "hardwareAcceleration"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn class_and_provider_that_contradict() {
    let spec = json!({ "class": "test", "provider": "macvlan" });
    let host = host(&[class("test", &json!({})), any_network("shop/blue", &spec)]);
    add(&host, "c1", "shop/blue", "shop").fails(7, &["shop/blue", "test", "macvlan"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn no_class_at_all_and_none_marked_default() {
    let host = host(&[class("test", &json!({})), any_network("shop/blue", &json!({}))]);
    add(&host, "c1", "shop/blue", "shop").fails(7, &["shop/blue", "default"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn several_classes_marked_default() {
    let marked = |name: &str| {
        let mut class: Value = serde_json::from_str(&class(name, &json!({}))).unwrap();
        class["metadata"]["annotations"] = json!({ "knap.github.com/is-default-class": "true" });
        class.to_string()
    };
    let host = host(&[marked("one"), marked("two"), any_network("shop/blue", &json!({}))]);
    add(&host, "c1", "shop/blue", "shop").fails(7, &["shop/blue", "one", "two"]);
    host.assert_nothing_left("shop/blue");
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
    let host = host(&manifests);
    add(&host, "c1", "shop/blue", "shop").fails(7, &["shop/blue", "test"]);
    add(&host, "c2", "bank/blue", "bank").result();
}

#[test]
fn more_attachments_than_the_namespace_may_have() {
    let access = json!({ "access": { "attachmentsPerNamespace": 2 } });
    let host = host(&[class("test", &access), network("shop/blue", &json!({}))]);
    add(&host, "c1", "shop/blue", "shop").result();
    add(&host, "c2", "shop/blue", "shop").result();
    add(&host, "c3", "shop/blue", "shop").fails(7, &["shop", "2"]);
    let config = thin_config("shop/blue", "1.0.0");
    Call::new("DEL", "c1", &config).run(&host).quiet();
    add(&host, "c4", "shop/blue", "shop").result();
}

#[test]
fn more_networks_than_the_namespace_may_have() {
    let access = json!({ "access": { "networksPerNamespace": 1 } });
    let host = Host::start(&[class("test", &access), network("shop/blue", &json!({}))], &["first"]);
    host.resolver.wait_ready("shop/blue");
    host.resolver.write_manifest("later.yaml", &network("shop/red", &json!({})));
    eventually("shop/red is refused", || host.resolver.network("shop/red").and_then(|view| view.message));
    add(&host, "c1", "shop/red", "shop").fails(7, &["shop/red"]);
    add(&host, "c2", "shop/blue", "shop").result();
}

#[test]
fn a_requested_subnet_that_overlaps_another_networks() {
    let manifests = [
        class("test", &json!({ "allowRequestedSubnets": true })),
        network("shop/blue", &json!({ "subnets": ["10.99.0.0/24"] })),
    ];
    let host = host(&manifests);
    host.resolver
        .write_manifest("later.yaml", &network("shop/red", &json!({ "subnets": ["10.99.0.128/25"] })));
    let message =
        eventually("shop/red is refused", || host.resolver.network("shop/red").and_then(|view| view.message));
    assert!(message.contains("shop/blue") && message.contains("10.99.0.0/24"), "{message}");
    let error = add(&host, "c1", "shop/red", "shop").error();
    assert!(error.msg.contains("shop/red") && error.msg.contains("shop/blue"), "{error:?}");
    add(&host, "c2", "shop/blue", "shop").result();
}

#[test]
fn requested_subnets_that_the_class_does_not_allow() {
    let host =
        host(&[class("test", &json!({})), network("shop/blue", &json!({ "subnets": ["10.99.0.0/24"] }))]);
    add(&host, "c1", "shop/blue", "shop").fails(7, &["shop/blue"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_broken_manifest_is_named_and_the_rest_keeps_serving() {
    let host = Host::recorded();
    host.resolver.write_manifest("broken.yaml", "kind: Network\n  metadata: [\n");
    let status = eventually("the broken file is named", || {
        host.resolver.status().filter(|status| !status.broken_manifests.is_empty())
    });
    assert!(status.broken_manifests[0].contains("broken.yaml"), "{status:?}");
    assert!(host.resolver.log().contains("broken.yaml"));
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
    let host = Host::start(&[recorded_class(&["first"])], &["first"]);
    let begin = std::time::Instant::now();
    host.resolver.write_manifest("late.yaml", &network("shop/late", &json!({})));
    host.resolver.wait_ready("shop/late");
    assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
    add(&host, "c1", "shop/late", "shop").result();
}

#[test]
fn an_older_boot() {
    let host = Host::recorded();
    let (pod, other, late) = (host.pod("a"), host.pod("b"), host.pod("c"));
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.reboot(2);
    Call::add("c2", &other, &config).run(&host).result();
    host.reboot(1);
    Call::add("c3", &late, &config).run(&host).fails(7, &["boot"]);
}
