//! One table through all who decide about Networks: they may not disagree.

use knap_tests::{KubernetesApi, Objects, condition};
use serde_json::{Value, json};

use crate::{NETWORKS, asked};

/// What the resolver says in a terminal.
fn planned(api: &KubernetesApi, network: &Value) -> Option<String> {
    let output = api.planned("--output json --cluster-cidr 10.200.0.0/16", &network.to_string());
    let report: Value =
        serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let refused = &report["networks"][0]["refused"];
    assert_eq!(output.success, refused.is_null(), "{output:?}");
    refused["message"].as_str().map(str::to_owned)
}

/// What the API server says before it would take it: the refusal, or what it warns of.
async fn admitted(objects: &Objects, network: &Value) -> Option<String> {
    let written = objects.would_create(NETWORKS, network).await;
    let said = written.refused().map(str::to_owned).or_else(|| written.warnings.first().cloned())?;
    let (_, why) =
        said.split_once("Network shop/new would not be served: ").unwrap_or_else(|| panic!("{said}"));
    Some(why.to_owned())
}

/// What becomes of it once it is there.
async fn decided(objects: &Objects, network: &Value) -> Option<String> {
    objects.network("shop/new", network["spec"].clone()).await;
    let ready = objects
        .eventually("it is decided", async || condition(&objects.get_network("shop/new").await?, "Ready"))
        .await;
    objects.delete_network("shop/new").await;
    objects.gone("shop/new").await;
    (ready["status"] != "True").then(|| ready["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn dry_run_plan_and_controller_say_the_same() {
    let (api, replica) = asked(&["--cluster-cidr=10.200.0.0/16"]).await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.64.32.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.64.9.10"}]}});
    assert_eq!(objects.send("POST", "/api/v1/nodes", &node).await.status, 201);
    let fabric = |cidr: &str, more: Value| {
        let mut spec = json!({
            "provider": "macvlan", "fabric": "dc-a", "uplinks": [{"interface": "up0"}], "allowRequestedSubnets": true,
            "subnets": [{"cidr": cidr, "prefixLength": 24}]
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    objects.class("fab", fabric("10.64.0.0/16", json!({}))).await;
    objects.class("wide", fabric("10.0.0.0/8", json!({}))).await;
    objects.class("few", fabric("10.66.0.0/16", json!({"access": {"networksPerNamespace": 1}}))).await;
    objects.class("tiny", fabric("10.67.0.0/24", json!({}))).await;
    for (name, spec) in [
        ("shop/blue", json!({"class": "fab", "subnets": ["10.64.0.0/24"]})),
        ("shop/one", json!({"class": "few"})),
        ("shop/last", json!({"class": "tiny"})),
    ] {
        objects.network(name, spec).await;
        objects.ready(name).await;
    }
    let specs = [
        json!({"class": "fab"}),
        json!({"class": "fab", "subnets": ["10.64.7.0/24"]}),
        json!({"class": "fab", "subnets": ["10.64.0.0/25"]}),
        json!({"class": "wide", "subnets": ["10.64.0.0/23"]}),
        json!({"class": "wide", "subnets": ["10.200.7.0/24"]}),
        json!({"class": "wide", "subnets": ["10.96.0.0/24"]}),
        json!({"class": "fab", "subnets": ["10.64.32.128/25"]}),
        json!({"class": "fab", "subnets": ["10.64.9.0/24"]}),
        json!({"class": "fab", "subnets": ["10.64.9.0/24"], "reserved": ["10.64.9.10"]}),
        json!({"class": "fab", "subnets": ["10.70.0.0/24"]}),
        json!({"class": "fab", "requires": {"isolation": true}}),
        json!({"class": "few"}),
        json!({"class": "tiny"}),
        json!({"class": "later"}),
        json!({"provider": "sriov"}),
        json!({"provider": "bridge"}),
        json!({"class": "fab", "addressPolicy": "Sticky"}),
        json!({}),
    ];
    let networks = specs.map(|spec| {
        json!({"apiVersion": "knap.github.com/v1alpha1", "kind": "Network",
            "metadata": {"name": "new", "namespace": "shop"}, "spec": spec})
    });
    let mut said = Vec::new();
    for network in &networks {
        let (admitted, planned) = (admitted(&objects, network).await, planned(&api, network));
        assert_eq!(admitted, planned, "{network}");
        said.push(admitted);
    }
    assert!(said.iter().filter(|said| said.is_some()).count() > 10, "{said:?}");
    // The controller is asked about what a webhook would have kept from it.
    api.remove_webhooks().await;
    objects
        .eventually("webhooks are forgotten", async || {
            let outside = objects.would_create(NETWORKS, &networks[9]).await;
            outside.refused().is_none().then_some(())
        })
        .await;
    for (network, said) in networks.iter().zip(said) {
        assert_eq!(decided(&objects, network).await, said, "{network}\n{}", replica.log().len());
    }
}
