//! Plans among what a controller has decided elsewhere, as in a cluster.

use serde_json::{Value, json};

use super::super::found::Found;
use super::super::world::World as Planned;
use crate::manifests::{Manifest, parse};
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

fn manifests(networks: &[(&str, Value)]) -> Vec<Manifest> {
    let objects = networks.iter().map(|(name, spec)| {
        json!({
            "apiVersion": "knap.github.com/v1alpha1", "kind": "Network",
            "metadata": {"name": name, "namespace": "shop"}, "spec": spec
        })
    });
    let documents: Vec<String> = objects.map(|object| object.to_string()).collect();
    parse(&documents.join("\n---\n")).unwrap()
}

async fn plan(world: &World, networks: &[(&str, Value)]) -> Value {
    let subjects = manifests(networks);
    let changed = subjects.iter().map(Manifest::name).collect();
    let found = Found::in_store(&world.store, &changed).await.unwrap();
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
    let subnets = attached["networks"][0]["subnets"].as_array().unwrap();
    let subnets: Vec<_> = subnets.iter().map(|subnet| &subnet["cidr"]).collect();
    assert_eq!(subnets, ["10.64.2.0/24", "10.64.3.0/24"], "what runs keeps its subnet: {attached:#}");
    let before = world.get("shop/blue").await.unwrap();
    assert_eq!(before.status.unwrap().subnets[0].cidr, "10.64.2.0/24");
}
