//! Plans among what a controller has decided elsewhere, as in a cluster.

use serde_json::{Value, json};

use super::super::found::Found;
use super::super::world::World as Planned;
use crate::manifests::parse;
use crate::testing::World;

/// A cluster with a class of four subnets, of which `shop/blue` asked for the second.
async fn cluster() -> World {
    let world = World::new().await;
    let class = json!({
        "provider": "bridge", "allowRequestedSubnets": true,
        "subnets": [{"cidr": "10.64.0.0/22", "prefixLength": 24}]
    });
    world.class("plain", class).await;
    world.ready_network("shop/first", json!({"class": "plain"})).await;
    world.ready_network("shop/blue", json!({"class": "plain", "subnets": ["10.64.2.0/24"]})).await;
    world.remove("shop/first").await;
    // Only blue's: its MAC code, its bridge, its subnet.
    world.until_reservations(2).await;
    world
}

fn network(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "knap.github.com/v1alpha1", "kind": "Network",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec
    })
}

fn class(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": {"name": name}, "spec": spec})
}

async fn plan(world: &World, networks: &[(&str, Value)]) -> Value {
    let objects: Vec<Value> = networks.iter().map(|(name, spec)| network(name, spec)).collect();
    plan_of(world, &objects).await
}

async fn plan_of(world: &World, objects: &[Value]) -> Value {
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    let subjects = parse(&documents.join("\n---\n")).unwrap();
    let found = Found::in_store(&world.store, &subjects).await.unwrap();
    let planned = Planned::of(found, &subjects).await.unwrap();
    serde_json::to_value(planned.report(&subjects, Vec::new(), None).await.unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_taken_stays_taken() {
    let world = cluster().await;
    let new = [
        ("red", json!({"class": "plain"})),
        ("green", json!({"class": "plain", "subnets": ["10.64.2.128/25"]})),
    ];
    let plan = plan(&world, &new).await;
    assert_eq!(plan["networks"][0]["subnets"][0]["cidr"], "10.64.0.0/24", "{plan:#}");
    assert_eq!(plan["networks"][1]["refused"]["reason"], "Conflict", "{plan:#}");
    let message = plan["networks"][1]["refused"]["message"].as_str().unwrap();
    assert!(message.contains("shop/blue") && message.contains("10.64.2.0/24"), "{message}");
    assert!(world.get("shop/red").await.is_none(), "nothing is changed");
}

#[tokio::test]
async fn a_change_is_planned_with_what_runs() {
    let world = cluster().await;
    let moved = [("blue", json!({"class": "plain", "subnets": ["10.64.3.0/24"]}))];
    let free = plan(&world, &moved).await;
    assert_eq!(free["networks"][0]["subnets"][0]["cidr"], "10.64.3.0/24", "{free:#}");
    world.attach("c1", json!({"network": "shop/blue"})).await.unwrap();
    let attached = plan(&world, &moved).await;
    let refused = &attached["networks"][0]["refused"];
    assert_eq!(refused["reason"], "SubnetInUse", "{attached:#}");
    assert!(refused["message"].as_str().unwrap().contains("10.64.2.0/24 can't be removed"), "{attached:#}");
    let more = [("blue", json!({"class": "plain", "subnets": ["10.64.3.0/24", "10.64.2.0/24"]}))];
    let grown = plan(&world, &more).await;
    assert_eq!(grown["networks"][0]["subnets"].as_array().unwrap().len(), 2, "{grown:#}");
    let before = world.get("shop/blue").await.unwrap();
    assert_eq!(before.status.unwrap().subnets[0].cidr, "10.64.2.0/24");
}

#[tokio::test]
async fn a_class_is_held_against_what_it_serves() {
    let world = cluster().await;
    world.attach("c1", json!({"network": "shop/blue"})).await.unwrap();
    let spec = |more: Value| {
        let mut spec = json!({"provider": "bridge", "allowRequestedSubnets": true,
            "subnets": [{"cidr": "10.64.0.0/22", "prefixLength": 24}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    for (change, why) in [
        (json!({"allowRequestedSubnets": false}), "does not allow requested subnets"),
        (json!({"provider": "macvlan", "uplinks": [{"interface": "up0"}]}), "while 1 attachments run"),
    ] {
        // What is refused never comes to be, so that Networks go on by what there is.
        let objects = [
            class("plain", &spec(change)),
            network("red", &json!({"class": "plain", "subnets": ["10.64.0.0/24"]})),
        ];
        let plan = plan_of(&world, &objects).await;
        let refused = &plan["classes"][0]["refused"];
        assert_eq!(refused["reason"], "NetworksAffected", "{plan:#}");
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.starts_with("Network shop/blue would not be served any more") && message.contains(why),
            "{message}"
        );
        assert_eq!(plan["networks"][0]["subnets"][0]["cidr"], "10.64.0.0/24", "{plan:#}");
    }
    let wider = spec(json!({"subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]}));
    let objects =
        [network("red", &json!({"class": "plain", "subnets": ["10.64.9.0/24"]})), class("plain", &wider)];
    let plan = plan_of(&world, &objects).await;
    assert!(plan["classes"][0].get("refused").is_none(), "{plan:#}");
    assert_eq!(plan["networks"][0]["subnets"][0]["cidr"], "10.64.9.0/24", "{plan:#}");
}

#[tokio::test]
async fn a_class_that_can_not_serve_is_said_to_be_so_changed_or_not() {
    let world = World::new().await;
    let broken = json!({"provider": "macvlan"});
    world.class("broken", broken.clone()).await;
    for spec in [broken, json!({"provider": "macvlan", "features": {"mtu": 9000}})] {
        let plan = plan_of(&world, &[class("broken", &spec)]).await;
        assert_eq!(plan["classes"][0]["refused"]["reason"], "InvalidClass", "{plan:#}");
        assert!(plan["classes"][0].get("warnings").is_none(), "{plan:#}");
    }
}

#[tokio::test]
async fn of_two_classes_with_one_wire_the_older_names_it() {
    let world = World::new().await;
    let wire =
        |fabric: &str| json!({"provider": "macvlan", "fabric": fabric, "uplinks": [{"interface": "up0"}]});
    // Not in the order of their names.
    world.class("second", wire("dc-a")).await;
    world.class("first", wire("dc-a")).await;
    let plan = plan_of(&world, &[class("new", &wire("dc-b")), class("a", &wire("dc-a"))]).await;
    assert!(plan["classes"][1].get("refused").is_none(), "{plan:#}");
    let message = plan["classes"][0]["refused"]["message"].as_str().unwrap();
    assert!(message.contains("which is fabric \"dc-a\" of NetworkClass \"second\""), "{message}");
}
