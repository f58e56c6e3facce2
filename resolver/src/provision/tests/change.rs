//! Networks and classes that change while Networks are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use knap_api::Network;
use serde_json::{Value, json};

use super::{fabric, subnets};
use crate::attach::Refusal;
use crate::testing::{Fate, Replica, Troubled, World, attach, controller, eventually};

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
async fn what_is_unique_in_the_cluster_is_on_no_segment_too() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.class("wire", fabric(&json!({"addressScope": "Segment"}))).await;
    let blue = world.ready_network("shop/blue", json!({"class": "fab"})).await;
    let red = world.ready_network("bank/red", json!({"class": "wire"})).await;
    assert_eq!((first(&blue).as_str(), first(&red).as_str()), ("10.64.0.0/24", "10.64.1.0/24"));
    for (name, class, cidr, owner) in [
        ("shop/green", "fab", "10.64.1.128/25", "bank/red"),
        ("shop/pink", "wire", "10.64.0.0/25", "shop/blue"),
    ] {
        world.network(name, json!({"class": class, "subnets": [cidr]})).await;
        let message = world.refusal(name, "Conflict").await;
        assert!(message.contains(owner), "{message}");
    }
}

#[tokio::test]
async fn the_address_scope_stays_under_running_attachments() {
    let wire = |name| fabric(&json!({"addressScope": "Segment", "fabric": name}));
    for (before, after, why, name) in [
        (
            fabric(&json!({})),
            wire("dc-a"),
            "it was cluster, and would be fabric-dc-a",
            "subnet-fabric-dc-a-0a400000-24",
        ),
        (
            wire("dc-a"),
            wire("dc-b"),
            "it was fabric-dc-a, and would be fabric-dc-b",
            "subnet-fabric-dc-b-0a400000-24",
        ),
    ] {
        let mut world = World::new().await;
        world.class("fab", before).await;
        world.ready_network("shop/blue", json!({"class": "fab"})).await;
        let reply = world.attach("c1", json!({})).await.unwrap();
        world.stop_controller().await;
        world.edit_class("fab", after).await;
        // One that knows of the attachment.
        let _controller = controller(&world.store);
        let message = world.refusal("shop/blue", "FixedWhileAttached").await;
        assert!(message.contains(why), "{message}");
        // Where nobody uses it, it stays the same subnet.
        world.release("c1", "try-c1", &reply.leases).await;
        assert_eq!(first(&world.until_ready("shop/blue").await), "10.64.0.0/24");
        until_reserved(&world, &[name]).await;
    }
}

/// Its class has changed, and the Network itself looks the same before and after the controller has seen to it.
#[tokio::test]
async fn a_network_is_served_from_where_its_class_has_its_subnets_now() {
    let mut world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.ready_network("shop/blue", json!({"class": "fab", "subnets": ["10.64.7.0/24"]})).await;
    let reply = world.attach("c1", json!({})).await.unwrap();
    world.release("c1", "try-c1", &reply.leases).await;
    world.stop_controller().await;
    world.edit_class("fab", fabric(&json!({"addressScope": "Segment"}))).await;
    eventually("the class is seen", || {
        let classes = world.replica.view.classes.all();
        classes.iter().all(|class| class.spec.address_scope == knap_api::AddressScope::Segment)
    })
    .await;
    let refusal = world.attach("c2", json!({})).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NotReady { .. }), "{refusal:?}");
    let _controller = controller(&world.store);
    until_reserved(&world, &["subnet-fabric-dc-a-0a400700-24"]).await;
    let mut answer = world.attach("c2", json!({})).await;
    for _ in 0..2000 {
        if answer.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        answer = world.attach("c2", json!({})).await;
    }
    panic!("{answer:?}");
}

#[tokio::test]
async fn of_networks_with_the_same_addresses_one_moves_when_they_have_to_be_unique() {
    let world = World::new().await;
    let small = json!({"subnets": [{"cidr": "10.64.0.0/23", "prefixLength": 24}]});
    world.class("own", bridges(&small)).await;
    for name in ["shop/a", "shop/b"] {
        assert_eq!(first(&world.ready_network(name, json!({"class": "own"})).await), "10.64.0.0/24");
    }
    let mut cluster = bridges(&small);
    cluster["addressScope"] = json!("Cluster");
    world.edit_class("own", cluster).await;
    until_reserved(&world, &["subnet-cluster-0a400000-24", "subnet-cluster-0a400100-24"]).await;
    let (a, b) = (world.until_ready("shop/a").await, world.until_ready("shop/b").await);
    assert_ne!(first(&a), first(&b));
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
async fn who_leaves_a_class_makes_room_for_who_waits() {
    let world = World::new().await;
    world.class("few", fabric(&json!({"access": {"networksPerNamespace": 1}}))).await;
    world.class("more", fabric(&json!({}))).await;
    world.ready_network("shop/blue", json!({"class": "few"})).await;
    world.network("shop/red", json!({"class": "few"})).await;
    world.refusal("shop/red", "OverQuota").await;
    world.edit("shop/blue", |network| network.spec.class = Some("more".to_owned())).await;
    world.until_ready("shop/red").await;
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

#[tokio::test]
async fn hosts_are_the_gateway_of_one_subnet_once() {
    let world = World::new().await;
    world.class("own", bridges(&json!({}))).await;
    for name in ["shop/a", "shop/b"] {
        assert_eq!(first(&world.ready_network(name, json!({"class": "own"})).await), "10.64.0.0/24");
    }
    world.edit_class("own", bridges(&json!({"parameters": {"isGateway": true}}))).await;
    let gateway = |network: &Network| {
        network.status.as_ref().and_then(|status| status.subnets.first()?.gateway.clone()).is_some()
    };
    let a = world.until("shop/a", "gateway", gateway).await;
    let b = world.until("shop/b", "gateway", gateway).await;
    assert_eq!((first(&a).as_str(), first(&b).as_str()), ("10.64.0.0/24", "10.64.1.0/24"));
    world.until_reservations(4).await;
    let mut routed = world.reservations().await;
    routed.retain(|found| found.spec.routed && super::super::is_verified(found));
    assert_eq!(routed.len(), 2, "{routed:?}");
}

#[tokio::test]
async fn hosts_become_the_gateway_of_nothing_that_is_used_or_theirs() {
    let world = World::new().await;
    world.class("own", bridges(&json!({}))).await;
    for name in ["shop/blue", "shop/b", "shop/c"] {
        let cidr = if name == "shop/blue" { "10.64.7.0/24" } else { "10.64.0.0/24" };
        world.ready_network(name, json!({"class": "own", "subnets": [cidr]})).await;
    }
    world.attach("c1", json!({})).await.unwrap();
    world.edit_class("own", bridges(&json!({"parameters": {"isGateway": true}}))).await;
    let message = world.refusal("shop/blue", "FixedWhileAttached").await;
    assert!(message.contains("whether hosts route its subnets"), "{message}");
    assert!(world.refusal("shop/c", "Conflict").await.contains("shop/b"));
    world.edit_class("own", bridges(&json!({}))).await;
    for name in ["shop/blue", "shop/b", "shop/c"] {
        world.until_ready(name).await;
    }
}

#[tokio::test]
async fn hosts_do_not_become_the_gateway_of_what_is_attached_to_meanwhile() {
    let mut world = World::new().await;
    world.class("own", bridges(&json!({}))).await;
    world.ready_network("shop/blue", json!({"class": "own"})).await;
    let behind = Replica::over(&Troubled::held_back(&world.store)).await;
    world.stop_controller().await;
    world.edit_class("own", bridges(&json!({"parameters": {"isGateway": true}}))).await;
    // The controller has counted no attachment, and is about to give the subnet up.
    let (attacher, first) = (Arc::clone(&behind.attacher), Arc::new(AtomicBool::new(true)));
    let store = Troubled::new(&world.store, move |call| {
        let (attacher, first) = (Arc::clone(&attacher), Arc::clone(&first));
        async move {
            let gives_up = call.verb == "update_status" && call.name.starts_with("subnet-");
            if gives_up && first.swap(false, Ordering::Relaxed) {
                attach(&attacher, "c1", json!({})).await.unwrap();
            }
            Fate::Served
        }
    });
    let _controller = controller(&store);
    let message = world.refusal("shop/blue", "FixedWhileAttached").await;
    assert!(message.contains("can't change while 1 attachments run"), "{message}");
    let mut kept = world.reservations().await;
    kept.retain(|found| !found.spec.routed && super::super::is_verified(found));
    assert!(matches!(&*kept, [kept] if !super::super::is_draining(kept)), "{kept:?}");
}
