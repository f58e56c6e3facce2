//! Changed Networks, and classes, through all who decide about them: they may not disagree.

use knap_api::{Network, NetworkClass};
use knap_tests::{KubernetesApi, Objects, Written, condition};
use kube::Api;
use serde_json::{Value, json};

use crate::{CLASSES, NETWORKS, asked};

/// What is said of an object: why it is refused, and what is warned of beside.
#[derive(Debug, PartialEq)]
struct Said {
    refused: Option<String>,
    warnings: Vec<String>,
}

impl Said {
    /// By the API server, which asks the webhook.
    fn admitted(written: &Written) -> Self {
        let refused = written.refused().map(|message| {
            let (_, why) = message.split_once("denied the request: ").unwrap_or_else(|| panic!("{message}"));
            why.to_owned()
        });
        Self { refused, warnings: written.warnings.clone() }
    }

    /// In a terminal, about the only object of this list.
    fn planned(api: &KubernetesApi, list: &str, object: &Value) -> Self {
        let output = api.planned("--output json --cluster-cidr 10.200.0.0/16", &object.to_string());
        let report: Value =
            serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let plan = &report[list][0];
        assert_eq!(output.success, plan["refused"].is_null(), "{output:?}");
        let warnings = plan["warnings"].as_array().into_iter().flatten();
        Self {
            refused: plan["refused"]["message"].as_str().map(str::to_owned),
            warnings: warnings.map(|warning| warning.as_str().unwrap().to_owned()).collect(),
        }
    }
}

/// What is said of a Network, as its conditions would have it.
fn why(said: &str) -> &str {
    said.split_once(" would not be served: ").map_or(said, |(_, why)| why)
}

/// Writes an object, or asks what would come of that; whatever status the controller has written meanwhile.
async fn write(objects: &Objects, path: &str, object: &Value, query: &str) -> Written {
    let mut object = object.clone();
    if object["metadata"]["resourceVersion"].is_null() {
        return objects.send("POST", &format!("{path}{query}"), &object).await;
    }
    let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
    loop {
        let written = objects.send("PUT", &format!("{path}{query}"), &object).await;
        if written.status != 409 || written.body["message"].as_str().unwrap().contains("denied the request") {
            return written;
        }
        let now = objects.send("GET", &path, &Value::Null).await.body;
        object["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
    }
}

/// An object as a person would have it in a file.
fn file(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut metadata = json!({"name": metadata["name"], "annotations": metadata["annotations"]});
    if object["kind"] == "Network" {
        metadata["namespace"] = json!("shop");
    }
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": metadata, "spec": object["spec"]})
}

/// A Network as it is, with this spec.
async fn network_with(objects: &Objects, name: &str, spec: &Value) -> Value {
    let network = objects.get_network(&format!("shop/{name}")).await.unwrap();
    let mut network = serde_json::to_value(network).unwrap();
    network["spec"] = spec.clone();
    network
}

/// A class as it is, or a new one, with this in its spec.
async fn class_with(objects: &Objects, name: &str, spec: &Value) -> Value {
    let there = Api::<NetworkClass>::all(objects.client.clone()).get_opt(name).await.unwrap();
    let mut new = json!({"apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": {"name": name}, "spec": {}});
    if name == "second" {
        new["metadata"]["annotations"] = as_default();
    }
    let mut class = there.map_or(new, |class| serde_json::to_value(class).unwrap());
    class["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    class
}

/// What marks a class as default.
fn as_default() -> Value {
    json!({"knap.github.com/is-default-class": "true"})
}

/// What the controller says of a Network as it is now; nothing where it serves it.
async fn decided(objects: &Objects, network: &str) -> Option<String> {
    let ready = objects
        .eventually(&format!("{network} is decided"), async || {
            let found = objects.get_network(network).await?;
            let current = |ready: &Value| ready["observedGeneration"] == json!(found.metadata.generation);
            condition(&found, "Ready").filter(current)
        })
        .await;
    (ready["status"] != "True").then(|| ready["message"].as_str().unwrap().to_owned())
}

fn macvlan(interface: &str, more: &Value) -> Value {
    let mut spec = json!({
        "provider": "macvlan", "uplinks": [{"interface": interface}], "allowRequestedSubnets": true,
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

async fn furnish(objects: &Objects) {
    objects.namespace("shop", &[("team", "shop")]).await;
    let node = json!({"metadata": {"name": "n1"}});
    assert_eq!(objects.send("POST", "/api/v1/nodes", &node).await.status, 201);
    let team = json!({"access": {"namespaceSelector": {"matchLabels": {"team": "shop"}}}});
    let tagged = json!({
        "provider": "sriov", "resourceName": "vendor.com/pool", "fabric": "dc-b", "segments": {"vlans": ["100-109"]},
        "subnets": [{"cidr": "10.65.0.0/16", "prefixLength": 24}]
    });
    for (name, spec) in [
        ("fab", macvlan("up0", &json!({"fabric": "dc-a"}))),
        ("wide", macvlan("up1", &json!({"fabric": "dc-a"}))),
        ("tagged", tagged),
        ("team", macvlan("up2", &team)),
    ] {
        objects.class(name, spec).await;
    }
    let marked = json!({"metadata": {"annotations": as_default()}});
    assert_eq!(objects.send("PATCH", &format!("{CLASSES}/wide"), &marked).await.status, 200);
    for (name, spec) in [
        ("shop/blue", json!({"class": "fab", "subnets": ["10.64.0.0/24", "10.64.1.0/24"]})),
        ("shop/other", json!({"class": "wide", "subnets": ["10.64.2.0/24"]})),
        ("shop/vlan", json!({"class": "tagged"})),
        ("shop/mine", json!({"class": "team"})),
    ] {
        objects.network(name, spec).await;
        objects.ready(name).await;
    }
    objects.network("shop/waiting", json!({"class": "later"})).await;
    objects.network_with("shop/waiting", "Ready", "False", "NoClass").await;
}

/// Specs of `shop/blue`, which has an attachment in 10.64.1.0/24, and of `shop/waiting`.
fn networks() -> Vec<(&'static str, Value)> {
    let blue = |subnets: &[&str], more: Value| {
        let mut spec = json!({"class": "fab", "subnets": subnets});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("blue", spec)
    };
    let both = ["10.64.0.0/24", "10.64.1.0/24"];
    vec![
        blue(&both, json!({"dns": {"nameservers": ["10.64.0.2"]}})),
        blue(&["10.64.0.0/24", "10.64.1.0/24", "10.64.7.0/24"], json!({})),
        blue(&["10.64.0.0/24", "10.64.1.0/24", "10.64.2.0/24"], json!({})),
        blue(&["10.64.1.0/24"], json!({})),
        blue(&["10.64.0.0/24"], json!({})),
        blue(&both, json!({"class": "wide"})),
        blue(&[], json!({"ipam": "None"})),
        blue(&both, json!({"addressPolicy": "Sticky"})),
        blue(&both, json!({"requires": {"hardwareAcceleration": true}})),
        ("waiting", json!({"class": "later", "dns": {"nameservers": ["10.64.0.2"]}})),
        ("waiting", json!({"class": "fab"})),
    ]
}

/// What is written into classes; `new` is not there yet, nor `second`, which would be the second default.
fn classes() -> Vec<(&'static str, Value)> {
    let subnets = |cidr: &str, length: u8| json!({"subnets": [{"cidr": cidr, "prefixLength": length}]});
    vec![
        ("new", macvlan("up9", &subnets("10.70.0.0/16", 24))),
        ("new", macvlan("up9", &json!({"provider": "acme"}))),
        ("new", macvlan("up9", &json!({"parameters": {"mod": "bridge"}}))),
        ("new", macvlan("up9", &subnets("10.70.0.0/16", 8))),
        ("new", macvlan("up0", &json!({"fabric": "dc-z"}))),
        ("new", macvlan("up0", &json!({"fabric": "dc-a", "provider": "bridge"}))),
        ("new", macvlan("up9", &subnets("10.200.7.0/24", 28))),
        ("new", macvlan("up9", &subnets("10.192.0.0/12", 24))),
        ("second", macvlan("up9", &subnets("10.70.0.0/16", 24))),
        ("fab", subnets("10.64.0.0/15", 24)),
        ("fab", subnets("10.70.0.0/16", 24)),
        ("fab", json!({"allowRequestedSubnets": false})),
        ("fab", json!({"provider": "bridge"})),
        ("fab", json!({"uplinks": []})),
        ("tagged", json!({"fabric": "dc-c"})),
        ("tagged", json!({"segments": {"vlans": ["200-209"]}})),
        ("team", json!({"access": {"namespaceSelector": {"matchLabels": {"team": "net"}}}})),
    ]
}

#[tokio::test]
async fn dry_run_plan_and_controller_say_the_same_of_changed_networks_and_of_classes() {
    let (api, replica) = asked(&["--cluster-cidr=10.200.0.0/16"]).await;
    let objects = api.objects().await;
    furnish(&objects).await;
    replica.attached("n1", "c1", json!({"runtimeConfig": {"ips": ["10.64.1.9"]}})).await;
    let device = json!({"network": "shop/vlan", "runtimeConfig": {"deviceID": "0000:03:02.1"}});
    replica.attached("n1", "c2", device).await;
    objects.until_leases(2).await;

    let (networks, classes) = (networks(), classes());
    let mut said_of_networks = Vec::new();
    for (name, spec) in &networks {
        let object = network_with(&objects, name, spec).await;
        let admitted = Said::admitted(&write(&objects, NETWORKS, &object, "?dryRun=All").await);
        let planned = Said::planned(&api, "networks", &file(&object));
        // What may pass is a warning where it is written, and no reason to go on where it is planned.
        let of_admission = admitted.refused.as_ref().or(admitted.warnings.first()).map(|said| why(said));
        assert_eq!(of_admission, planned.refused.as_deref(), "{name}: {spec}");
        said_of_networks.push(planned.refused);
    }
    let mut said_of_classes = Vec::new();
    for (name, spec) in &classes {
        let object = class_with(&objects, name, spec).await;
        let admitted = Said::admitted(&write(&objects, CLASSES, &object, "?dryRun=All").await);
        assert_eq!(admitted, Said::planned(&api, "classes", &file(&object)), "{name}: {spec}");
        said_of_classes.push(admitted);
    }
    let warned = |said: &Said| said.warnings.iter().any(|warning| warning.contains("marked as default too"));
    assert!(said_of_classes.iter().any(warned), "{said_of_classes:#?}");
    let refused = said_of_classes.iter().filter(|said| said.refused.is_some()).count();
    assert!(
        refused >= 10 && said_of_networks.iter().flatten().count() >= 6,
        "{said_of_networks:#?} {said_of_classes:#?}"
    );

    // The controller is asked about what a webhook would have kept from it.
    api.remove_webhooks().await;
    let never = class_with(&objects, "new", &classes[1].1).await;
    objects
        .eventually("webhooks are forgotten", async || {
            write(&objects, CLASSES, &never, "?dryRun=All").await.refused().is_none().then_some(())
        })
        .await;
    for ((name, spec), said) in networks.iter().zip(said_of_networks) {
        let before = objects.get_network(&format!("shop/{name}")).await.unwrap();
        let before = serde_json::to_value(before.spec).unwrap();
        let written = write(&objects, NETWORKS, &network_with(&objects, name, spec).await, "").await;
        assert_eq!(written.status, 200, "{written:?}");
        let network = format!("shop/{name}");
        let decided = decided(&objects, &network).await;
        if said.as_ref().is_some_and(|said| said.contains("can't be removed while")) {
            // It stays, whatever is written.
            let status = objects.get_network(&network).await.unwrap().status.unwrap();
            assert!(status.subnets.iter().any(|subnet| subnet.cidr == "10.64.1.0/24"), "{spec}: {status:?}");
        } else {
            assert_eq!(decided, said, "{name}: {spec}");
        }
        let restored = write(&objects, NETWORKS, &network_with(&objects, name, &before).await, "").await;
        assert_eq!(restored.status, 200, "{restored:?}");
        objects.network_with(&network, "Ready", if *name == "blue" { "True" } else { "False" }, "").await;
    }
    for ((name, spec), said) in classes.iter().zip(&said_of_classes) {
        what_becomes_of(&objects, name, spec, said).await;
    }
}

/// Writes a class, and holds what becomes of Networks against what was said; then all is as before.
async fn what_becomes_of(objects: &Objects, name: &str, spec: &Value, said: &Said) {
    let before = class_with(objects, name, &json!({})).await;
    let written = write(objects, CLASSES, &class_with(objects, name, spec).await, "").await;
    assert!(matches!(written.status, 200 | 201), "{written:?}");
    let affected = said.refused.as_ref().and_then(|why| why.split_once(" would not be served any more: "));
    if let Some((network, why)) = affected {
        let network = network.strip_prefix("Network ").unwrap();
        let is_said = |found: &Network| {
            condition(found, "Ready")
                .is_some_and(|ready| ready["status"] == "False" && ready["message"] == *why)
        };
        objects
            .eventually(&format!("{network}: {why}"), async || {
                objects.get_network(network).await.filter(is_said).map(drop)
            })
            .await;
    } else {
        objects.network("shop/probe", json!({"class": name})).await;
        let as_said = if said.refused.is_some() { "False" } else { "True" };
        objects.network_with("shop/probe", "Ready", as_said, "").await;
        objects.delete_network("shop/probe").await;
        objects.gone("shop/probe").await;
    }
    if before["metadata"]["resourceVersion"].is_null() {
        let deleted = objects.send("DELETE", &format!("{CLASSES}/{name}"), &json!({})).await;
        assert_eq!(deleted.status, 200, "{deleted:?}");
    } else {
        let mut back = class_with(objects, name, &json!({})).await;
        back["spec"] = before["spec"].clone();
        let written = write(objects, CLASSES, &back, "").await;
        assert_eq!(written.status, 200, "{written:?}");
        for network in ["shop/blue", "shop/vlan", "shop/mine"] {
            objects.ready(network).await;
        }
    }
}
