//! What the API server says to many objects, held by a file.

use std::fmt::Write;
use std::path::Path;

use knap_tests::{Objects, Written};
use serde_json::{Value, json};

use crate::cases::{Case, EXEMPT, Verb, cases, definitions};
use crate::{CLASSES, NETWORKS, asked};

/// Classes and Networks that the cases meet.
async fn furnish(objects: &Objects) {
    let fabric = |interface: &str, more: Value| {
        let mut spec = json!({
            "provider": "macvlan", "fabric": "dc-a", "uplinks": [{"interface": interface}], "allowRequestedSubnets": true,
            "allowSharing": true, "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    for (namespace, labels) in [("shop", &[("team", "shop")][..]), ("bank", &[]), ("full", &[])] {
        objects.namespace(namespace, labels).await;
        objects.service_account(namespace).await;
    }
    let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.64.9.10"}]}});
    assert_eq!(objects.send("POST", "/api/v1/nodes", &node).await.status, 201);
    objects.class("fab", fabric("up0", json!({}))).await;
    objects.class("open", fabric("up2", json!({}))).await;
    objects
        .class("wide", fabric("up3", json!({"subnets": [{"cidr": "10.0.0.0/8", "prefixLength": 20}]})))
        .await;
    objects
        .class("tiny", fabric("up4", json!({"subnets": [{"cidr": "10.90.0.0/24", "prefixLength": 24}]})))
        .await;
    objects.class("few", fabric("up5", json!({"access": {"networksPerNamespace": 1}}))).await;
    objects
        .class(
            "closed",
            fabric(
                "up6",
                json!({"access": {"namespaceSelector": {"matchLabels": {"team": "net"}}},
        "allowRequestedSubnets": false}),
            ),
        )
        .await;
    objects
        .class(
            "plain",
            json!({"provider": "bridge", "subnets": [{"cidr": "10.91.0.0/16", "prefixLength": 24}]}),
        )
        .await;
    objects
        .class(
            "vf",
            json!({"provider": "sriov", "resourceName": "vendor.com/pool", "fabric": "dc-b",
        "segments": {"vlans": ["100-100"]}, "subnets": [{"cidr": "10.92.0.0/16", "prefixLength": 24}]}),
        )
        .await;
    objects
        .class(
            "port",
            json!({"provider": "bridge", "uplinks": [{"interface": "up1"}],
        "subnets": [{"cidr": "10.93.0.0/16", "prefixLength": 24}]}),
        )
        .await;
    let team = json!({"access": {"namespaceSelector": {"matchLabels": {"team": "shop"}}},
        "subnets": [{"cidr": "10.95.0.0/16", "prefixLength": 24}]});
    objects.class("team", fabric("up8", team)).await;
    for (name, spec) in [
        ("shop/blue", json!({"class": "fab", "subnets": ["10.64.0.0/24", "10.64.1.0/24"]})),
        ("shop/fast", json!({"class": "vf"})),
        ("shop/port", json!({"class": "port"})),
        ("shop/last", json!({"class": "tiny"})),
        ("shop/one", json!({"class": "few"})),
        ("bank/open", json!({"class": "open", "sharedWith": {"namespaceSelector": {}}})),
        (
            "bank/team",
            json!({"class": "open", "sharedWith": {"namespaceSelector": {"matchLabels": {"team": "bank"}}}}),
        ),
        ("bank/own", json!({"class": "open"})),
        ("shop/mine", json!({"class": "team"})),
    ] {
        objects.network(name, spec).await;
        objects.network_with(name, "Published", "True", "").await;
    }
    // Let in with a warning.
    objects.network("shop/waiting", json!({"class": "later"})).await;
    objects.network_with("shop/waiting", "Ready", "False", "NoClass").await;
}

/// The answers to cases, as the file has them.
async fn answers(objects: &Objects, cases: &[Case]) -> String {
    let mut all = String::new();
    for case in cases {
        let written = match case.verb {
            Verb::Create => objects.would_create(&case.path, &case.object).await,
            Verb::CreateAs(user) => objects.would_create_as(user, &case.path, &case.object).await,
            Verb::Change => objects.would_change(&case.path, &case.object).await,
        };
        all += &told(case, &written);
    }
    all
}

/// One case's answer, as the file has it.
fn told(case: &Case, written: &Written) -> String {
    let mut text = format!("# {}\n", case.name);
    match written.refused() {
        Some(message) => writeln!(text, "refused: {message}").unwrap(),
        None => writeln!(text, "allowed").unwrap(),
    }
    for warning in &written.warnings {
        writeln!(text, "warning: {warning}").unwrap();
    }
    if written.refused().is_none() && case.path.ends_with("/pods") {
        text += &changes(&written.body);
    }
    text
}

/// What a pod has become.
fn changes(pod: &Value) -> String {
    let mut text = String::new();
    if let Some(networks) = pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"].as_str() {
        writeln!(text, "  networks: {networks}").unwrap();
    }
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = &pod["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"];
    for term in terms.as_array().into_iter().flatten() {
        let keys = ["matchExpressions", "matchFields"]
            .iter()
            .flat_map(|part| term[part].as_array().into_iter().flatten());
        let keys: Vec<&str> = keys.map(|requirement| requirement["key"].as_str().unwrap()).collect();
        writeln!(text, "  nodes: {}", keys.join(", ")).unwrap();
    }
    for container in pod["spec"]["containers"].as_array().unwrap() {
        for (resource, amount) in container["resources"]["requests"].as_object().into_iter().flatten() {
            writeln!(
                text,
                "  {}: {resource} {}",
                container["name"].as_str().unwrap(),
                amount.as_str().unwrap()
            )
            .unwrap();
        }
    }
    text
}

#[tokio::test]
async fn what_is_refused_and_what_is_let_in() {
    let exempt = format!("--raw-attachments-exempt={EXEMPT}");
    let (api, replica) = asked(&["--cluster-cidr=10.200.0.0/16", &exempt]).await;
    let objects = api.objects().await;
    furnish(&objects).await;
    replica.attached("n1", "c1", json!({"runtimeConfig": {"ips": ["10.64.1.9"]}})).await;
    let device = json!({"network": "shop/fast", "runtimeConfig": {"deviceID": "0000:03:02.1"}});
    replica.attached("n1", "c2", device).await;
    let reserved = objects.reservations().await.len();
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let all = answers(&objects, &cases).await;
    // Nothing has happened, and a delete is nobody's to refuse.
    assert_eq!(objects.reservations().await.len(), reserved);
    let deleted = objects.send("DELETE", &format!("{NETWORKS}/waiting"), &json!({})).await;
    assert_eq!(deleted.status, 200);
    let deleted = objects.send("DELETE", &format!("{CLASSES}/fab"), &json!({})).await;
    assert_eq!(deleted.status, 200, "a class in use, too");
    hold(&all, "golden.txt");
}

#[tokio::test]
async fn definitions_past_knap_are_refused_where_that_is_wanted() {
    let exempt = format!("--raw-attachments-exempt={EXEMPT}");
    let (api, _replica) = asked(&["--raw-attachments=refuse", &exempt]).await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    hold(&answers(&objects, &definitions("definition, to be refused")).await, "golden-refuse.txt");
}

/// Holds answers against those of a file.
fn hold(all: &str, file: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admission").join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, all).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    let differing = all.split("# ").zip(golden.split("# ")).find(|(now, then)| now != then);
    assert!(
        all == golden,
        "not what {} says, first here: {differing:#?}; if the change is wanted, run this test with UPDATE=1",
        file.display()
    );
}
