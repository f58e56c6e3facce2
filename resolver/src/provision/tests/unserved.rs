//! Networks that can't be served: nothing is kept from others for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use knap_api::{Network, Reservation, ReservationSpec, ReservedFor};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::fabric;
use crate::store::Store;
use crate::testing::{Fate, Troubled, World, controller};

/// A class of two VLANs, one Network of each namespace, that lets Networks name their subnets.
fn two_vlans() -> Value {
    json!({
        "provider": "sriov", "resourceName": "vendor.com/pool", "fabric": "dc-a", "segments": {"vlans": ["100-101"]},
        "allowRequestedSubnets": true, "access": {"networksPerNamespace": 1},
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    })
}

fn asking(class: &str) -> Value {
    json!({"class": class, "subnets": ["10.64.7.0/24"]})
}

/// Names of all Reservations of a Network.
async fn held(world: &World, name: &str) -> Vec<String> {
    let uid = world.get(name).await.unwrap().uid().unwrap();
    let reservations = world.reservations().await.into_iter();
    reservations.filter(|found| found.spec.network.uid == uid).map(|found| found.name_any()).collect()
}

async fn until_held(world: &World, name: &str, count: usize) {
    for _ in 0..2000 {
        if held(world, name).await.len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{name} does not hold {count}: {:?}", held(world, name).await);
}

/// A Reservation of a Network's, as one that had crashed would leave it.
async fn reserve(world: &World, network: &Network, name: &str) {
    let owner = ReservedFor {
        namespace: network.namespace().unwrap(),
        name: network.name_any(),
        uid: network.uid().unwrap(),
    };
    let spec = ReservationSpec { network: owner, cidr: None, scope: None, routed: false, lease: None };
    let mut reservation = Reservation::new(name, spec);
    reservation.labels_mut().insert(knap_api::NETWORK_UID_LABEL.to_owned(), network.uid().unwrap());
    world.store.create(&reservation).await.unwrap();
}

#[tokio::test]
async fn who_asks_for_what_another_has_keeps_no_number() {
    let world = World::new().await;
    world.class("vf", two_vlans()).await;
    world.ready_network("shop/a", asking("vf")).await;
    let device = json!({"network": "shop/a", "runtimeConfig": {"deviceID": "0000:3b:02.1"}});
    world.attach("c1", device).await.unwrap();
    world.remove("shop/a").await;
    let names = ["shop/b", "shop/c", "shop/d"];
    for name in names {
        world.network(name, asking("vf")).await;
    }
    for name in names {
        let message = world.refusal(name, "Conflict").await;
        assert!(message.contains("shop/a, which is deleted but still has attachments"), "{message}");
    }
    let other = world.ready_network("bank/e", json!({"class": "vf"})).await;
    assert_eq!(other.status.unwrap().segment.unwrap().vlan, Some(101));
    for name in names {
        assert_eq!(held(&world, name).await, [""; 0], "{name}");
    }
}

#[tokio::test]
async fn what_a_crash_left_to_who_is_not_served_is_given_back() {
    let mut world = World::new().await;
    world.class("vf", two_vlans()).await;
    world.ready_network("shop/a", asking("vf")).await;
    world.stop_controller().await;
    let waiting = world.network("bank/b", asking("vf")).await;
    for name in ["mac-1f2e", "vlan-dc-a-101"] {
        reserve(&world, &waiting, name).await;
    }
    let _controller = controller(&world.store);
    world.refusal("bank/b", "Conflict").await;
    until_held(&world, "bank/b", 0).await;
    assert_eq!(held(&world, "shop/a").await.len(), 3);
    world.remove("shop/a").await;
    world.until_ready("bank/b").await;
}

#[tokio::test]
async fn who_was_served_keeps_what_it_was_granted_and_nothing_else() {
    let mut world = World::new().await;
    world.class("vf", two_vlans()).await;
    world.ready_network("shop/a", asking("vf")).await;
    let b = world.ready_network("bank/b", json!({"class": "vf"})).await;
    let mut granted = held(&world, "bank/b").await;
    granted.sort();
    world.stop_controller().await;
    reserve(&world, &b, "vlan-dc-b-7").await;
    world.edit("bank/b", |network| network.spec.subnets = vec!["10.64.7.0/24".to_owned()]).await;
    let _controller = controller(&world.store);
    world.refusal("bank/b", "Conflict").await;
    until_held(&world, "bank/b", 3).await;
    let mut kept = held(&world, "bank/b").await;
    kept.sort();
    assert_eq!(kept, granted);
}

/// What is reserved and given back wakes whoever waits: also the one that has just given it back.
#[tokio::test]
async fn who_can_not_be_served_takes_nothing_again_and_again() {
    let mut world = World::new().await;
    world.class("vf", two_vlans()).await;
    world.class("fab", fabric(&json!({}))).await;
    world.class("tiny", fabric(&json!({"subnets": [{"cidr": "10.80.0.0/24", "prefixLength": 24}]}))).await;
    let wire = json!({
        "provider": "bridge", "uplinks": [{"interface": "up1"}], "subnets": [{"cidr": "10.81.0.0/16", "prefixLength": 24}]
    });
    world.class("wire", wire).await;
    for (name, class) in [("shop/a", "vf"), ("shop/t", "tiny"), ("shop/w", "wire"), ("tool/a", "vf")] {
        world.ready_network(name, json!({"class": class})).await;
    }
    world.stop_controller().await;
    let unreachable = json!([{"destination": "172.16.0.0/12", "gateway": "192.0.2.1"}]);
    let cases = [
        ("bank/vlan", json!({"class": "vf"}), "Exhausted"),
        ("bank/subnet", json!({"class": "tiny"}), "Exhausted"),
        ("bank/wire", json!({"class": "wire"}), "InUse"),
        ("bank/route", json!({"class": "fab", "routes": unreachable}), "InvalidPlan"),
    ];
    for (name, spec, _) in &cases {
        world.network(name, spec.clone()).await;
    }
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let store = Troubled::new(&world.store, move |call| {
        counted.fetch_add(usize::from(call.verb == "create"), Ordering::Relaxed);
        std::future::ready(Fate::Served)
    });
    let _controller = controller(&store);
    for (name, _, reason) in &cases {
        world.refusal(name, reason).await;
        assert_eq!(held(&world, name).await, [""; 0], "{name}");
    }
    assert_eq!(made.load(Ordering::Relaxed), 0);
}
