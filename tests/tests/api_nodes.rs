//! Which nodes serve which class, as pods are scheduled by it and people see it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use knap_api::NetworkClass;
use knap_tests::{KubernetesApi, Objects, Replica};
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

const FAB: &str = "network.knap.github.com/fab";
const DHCP: &str = "network.knap.github.com/ipam.dhcp";
const BRIDGE: &str = "network.knap.github.com/built-in-bridge";

async fn report(replica: &Replica, node: &str, interfaces: &[&str], delegates: &[&str]) {
    let interfaces: Vec<Value> =
        interfaces.iter().map(|name| json!({"name": name, "mtu": 1500, "up": true})).collect();
    let delegates: Vec<Value> = delegates.iter().map(|kind| json!({"type": kind})).collect();
    let inventory =
        json!({"bootID": "boot-1", "agentVersion": "1", "interfaces": interfaces, "delegates": delegates});
    let path = format!("/v1/nodes/{node}/inventory");
    let reply = replica.ask("PUT", &path, Some(inventory)).await.expect("an answer");
    assert_eq!(reply.status, 204, "{reply:?}");
}

/// A node's labels that are Knap's, or were made here.
async fn labels(objects: &Objects, node: &str) -> BTreeMap<String, String> {
    let node = Api::<Node>::all(objects.client.clone()).get(node).await.expect("a Node");
    node.metadata.labels.unwrap_or_default()
}

/// Waits until a node has these labels of Knap's, each with the value `true`, and no others.
async fn labelled(objects: &Objects, node: &str, expected: &[&str]) {
    let what = format!("{node} is labelled {expected:?}");
    let found = async || {
        let labels = labels(objects, node).await.into_iter();
        let of_knap: Vec<(String, String)> =
            labels.filter(|(key, _)| key.starts_with("network.knap.github.com/")).collect();
        let right = of_knap.len() == expected.len()
            && of_knap.iter().all(|(key, value)| expected.contains(&key.as_str()) && value == "true");
        right.then_some(())
    };
    objects.eventually(&what, found).await;
}

#[tokio::test]
async fn nodes_are_labelled_by_what_they_can_serve() {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let replica = api.start_replica().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.labelled_node("n1", json!({"rack": "a"})).await;
    objects
        .labelled_node("n2", json!({"rack": "b", FAB: "true", "network.knap.github.com/gone": "true"}))
        .await;
    let uplinks = json!([
        {"nodeSelector": {"matchLabels": {"rack": "a"}}, "interface": "ens1f0"}, {"interface": "eno9"}
    ]);
    let subnets = json!([{"cidr": "10.64.0.0/16", "prefixLength": 24}]);
    objects.class("fab", json!({"provider": "macvlan", "uplinks": uplinks, "subnets": subnets})).await;
    objects.network("shop/blue", json!({"class": "fab"})).await;
    objects.ready("shop/blue").await;
    // What nobody has reported is not there.
    labelled(&objects, "n2", &[]).await;
    assert_eq!(labels(&objects, "n2").await["rack"], "b", "labels of others stay");

    report(&replica, "n1", &["ens1f0"], &["bridge", "macvlan"]).await;
    report(&replica, "n2", &["ens1f0"], &["bridge", "macvlan"]).await;
    labelled(&objects, "n1", &[BRIDGE, FAB]).await;
    labelled(&objects, "n2", &[BRIDGE]).await;
    let eligible = async |expected: u32| {
        let counted = async || {
            let nodes = objects.get_network("shop/blue").await?.status?.nodes?;
            (nodes.eligible == expected && nodes.total == 2).then_some(())
        };
        objects.eventually(&format!("{expected} of 2 nodes serve the Network"), counted).await;
    };
    eligible(1).await;
    let printed = api.kubectl_ok("get nw -n shop", "");
    let rows: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    let column = rows[0].iter().position(|heading| *heading == "NODES").expect("a column of nodes");
    assert_eq!(rows[1][column], "1", "{printed}");

    report(&replica, "n2", &["ens1f0", "eno9"], &["bridge", "dhcp", "macvlan"]).await;
    labelled(&objects, "n2", &[BRIDGE, DHCP, FAB]).await;
    eligible(2).await;
    api.kubectl_ok("annotate nwi n1 knap.github.com/quarantine=smoke", "");
    labelled(&objects, "n1", &[]).await;
    report(&replica, "n2", &["eno9"], &["bridge"]).await;
    labelled(&objects, "n2", &[BRIDGE]).await;
    eligible(0).await;
    report(&replica, "n2", &["eno9"], &["bridge", "macvlan"]).await;
    labelled(&objects, "n2", &[BRIDGE, FAB]).await;
    let classes = Api::<NetworkClass>::all(objects.client.clone());
    classes.delete("fab", &DeleteParams::default()).await.unwrap();
    labelled(&objects, "n2", &[BRIDGE]).await;
}
