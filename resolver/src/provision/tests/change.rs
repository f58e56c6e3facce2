//! Networks and classes that change while Networks are served.

use std::time::Duration;

use knap_api::Network;
use serde_json::{Value, json};

use super::{fabric, subnets};
use crate::testing::World;

/// A class of bridges that each Network has for itself, and that reach nothing else.
fn bridges(more: &Value) -> Value {
    let mut spec = json!({
        "provider": "bridge", "addressScope": "Segment", "parameters": {"isGateway": false},
        "allowRequestedSubnets": true, "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn ask(cidr: &'static str) -> impl Fn(&mut Network) {
    move |network| network.spec.subnets = vec![cidr.to_owned()]
}

fn first(network: &Network) -> String {
    subnets(network).first().unwrap().0.clone()
}

/// The subnets that are reserved, by name.
async fn reserved(world: &World) -> Vec<String> {
    let reservations = world.reservations().await.into_iter();
    let mut names: Vec<_> = reservations.filter_map(|found| found.metadata.name).collect();
    names.retain(|name| name.starts_with("subnet-"));
    names.sort();
    names
}

async fn until_reserved(world: &World, names: &[&str]) {
    for _ in 0..2000 {
        if reserved(world).await == names {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not {names:?}: {:#?}", reserved(world).await);
}

#[tokio::test]
async fn another_provider_is_looked_for_among_all_classes() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.class("own", bridges(&json!({"access": {"networksPerNamespace": 1}}))).await;
    for name in ["shop/blue", "shop/red"] {
        world.ready_network(name, json!({"provider": "macvlan"})).await;
        world.edit(name, |network| network.spec.provider = Some("bridge".to_owned())).await;
        match name {
            "shop/blue" => {
                let blue = world.until_ready(name).await;
                assert_eq!(blue.status.unwrap().class.as_deref(), Some("own"));
            }
            _ => assert!(world.refusal(name, "OverQuota").await.contains("own")),
        }
    }
}

#[tokio::test]
async fn a_subnet_can_grow_and_shrink_while_nobody_uses_it() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.ready_network("shop/blue", json!({"class": "fab", "subnets": ["10.64.0.0/24"]})).await;
    for (cidr, name) in
        [("10.64.0.0/23", "subnet-cluster-0a400000-23"), ("10.64.0.0/25", "subnet-cluster-0a400000-25")]
    {
        world.edit("shop/blue", ask(cidr)).await;
        assert_eq!(first(&world.until_ready("shop/blue").await), cidr);
        until_reserved(&world, &[name]).await;
    }
    world.attach("c1", json!({})).await.unwrap();
    world.edit("shop/blue", ask("10.64.0.0/23")).await;
    let message = world.refusal("shop/blue", "FixedWhileAttached").await;
    assert!(message.contains("it was 10.64.0.0/25, and would be 10.64.0.0/23"), "{message}");
    // Nothing of it is in anybody's way.
    until_reserved(&world, &["subnet-cluster-0a400000-25"]).await;
}
