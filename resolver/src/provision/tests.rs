//! The controller over the embedded store.

mod change;
mod crowd;
mod instant;
mod known;
mod own;
mod unserved;

use std::collections::BTreeSet;

use knap_api::{Network, NetworkClass, Reservation};
use knap_core::Class;
use serde_json::{Value, json};

use tokio::sync::oneshot;

use super::news::News;
use super::{Provisioner, Published, Rules, Subject, Surroundings};
use crate::store::{ObjectName, Preconditions, Store, StoreError};
use crate::testing::{Troubled, World, controller};
use crate::view::View;

/// A class of macvlan that lets Networks name their subnets.
fn fabric(more: &Value) -> Value {
    let mut spec = json!({
        "provider": "macvlan", "fabric": "dc-a", "uplinks": [{"interface": "up0"}], "allowRequestedSubnets": true,
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn subnets(network: &Network) -> Vec<(String, u32)> {
    let status = network.status.as_ref().unwrap();
    status.subnets.iter().map(|subnet| (subnet.cidr.clone(), subnet.slot_base)).collect()
}

#[tokio::test]
async fn a_network_gets_class_code_and_a_subnet_of_its_own() {
    let world = World::new().await;
    let blue = world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let red = world.ready_network("shop/red", json!({"provider": "bridge"})).await;
    let (blue, red) = (blue.status.unwrap(), red.status.unwrap());
    assert_eq!(
        (blue.subnets[0].cidr.as_str(), red.subnets[0].cidr.as_str()),
        ("100.96.0.0/24", "100.96.1.0/24")
    );
    assert_eq!(blue.subnets[0].capacity, 253);
    let (blue, red) = (blue.segment.unwrap(), red.segment.unwrap());
    assert_ne!(blue.mac_code, red.mac_code);
    assert_eq!(blue.bridge, blue.mac_code.map(|code| format!("kn{code}")));
    for reservation in world.reservations().await {
        let verified = reservation.status.is_some_and(|status| status.verified);
        assert_eq!(verified, reservation.spec.cidr.is_some());
    }
}

/// Those around a Network know it, and can't be told that it goes.
struct Deaf;

impl Surroundings for Deaf {
    async fn publish(&self, _: &Subject<'_>) -> Result<Option<Published>, StoreError> {
        Ok(None)
    }

    async fn keep(&self, _: &Network, _: Option<&Class>) -> Result<Option<Published>, StoreError> {
        Ok(None)
    }

    async fn withdraw(&self, _: &ObjectName) -> Result<(), StoreError> {
        Err(StoreError::Unavailable { action: "list".to_owned(), source: "forbidden".into() })
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        self.withdraw(&ObjectName::cluster("any")).await
    }

    fn tell(&self, _: &Network, _: News) {}
}

#[tokio::test]
async fn a_network_goes_though_what_leads_to_it_can_not_be_removed() {
    let mut world = World::new().await;
    world.stop_controller().await;
    let (view, mut tasks) = View::follow(&world.store);
    let provisioner = Provisioner::among(Deaf, world.store.clone(), view, Rules::default());
    tasks.spawn(provisioner.run(oneshot::channel().0));
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    // Its finalizer is taken off.
    world.remove("shop/blue").await;
    assert!(world.get("shop/blue").await.is_none());
}

#[tokio::test]
async fn a_conflicting_network_recovers_when_the_other_goes() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.class("other", fabric(&json!({"subnets": [{"cidr": "10.64.0.0/12", "prefixLength": 20}]}))).await;
    world.ready_network("shop/blue", json!({"class": "fab", "subnets": ["10.64.7.0/24"]})).await;
    world.network("bank/red", json!({"class": "other", "subnets": ["10.64.0.0/20"]})).await;
    let message = world.refusal("bank/red", "Conflict").await;
    for word in ["10.64.0.0/20", "10.64.7.0/24", "shop/blue"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(world.reservations().await.len(), 2, "those of blue");
    world.remove("shop/blue").await;
    let red = world.until_ready("bank/red").await;
    assert_eq!(subnets(&red), [("10.64.0.0/20".to_owned(), 0)]);
}

/// Every look says the same: another message would be a write, and that another look.
#[tokio::test]
async fn of_many_in_its_way_a_network_names_the_first() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.class("other", fabric(&json!({"subnets": [{"cidr": "10.64.0.0/12", "prefixLength": 20}]}))).await;
    for number in [3, 0, 2, 4, 1, 5, 7, 6] {
        let subnet = format!("10.64.{number}.0/24");
        world.ready_network(&format!("shop/n{number}"), json!({"class": "fab", "subnets": [subnet]})).await;
    }
    world.network("bank/red", json!({"class": "other", "subnets": ["10.64.0.0/20"]})).await;
    let message = world.refusal("bank/red", "Conflict").await;
    assert!(message.contains("10.64.0.0/24") && message.contains("shop/n0"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_unequal_subnets_asked_for_at_once_none_overlap() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.class("other", fabric(&json!({"subnets": [{"cidr": "10.64.0.0/12", "prefixLength": 20}]}))).await;
    let mut names = Vec::new();
    for number in 0..8 {
        let small = format!("shop/small-{number}");
        let large = format!("shop/large-{number}");
        let third = number * 16;
        world.network(&small, json!({"class": "fab", "subnets": [format!("10.64.{third}.0/24")]})).await;
        world.network(&large, json!({"class": "other", "subnets": [format!("10.64.{third}.0/20")]})).await;
        names.extend([(small, large)]);
    }
    for (small, large) in names {
        let decided = |network: &Network| super::condition(network, "Ready").is_some();
        let (small, large) =
            (world.until(&small, "decided", decided).await, world.until(&large, "decided", decided).await);
        assert!(super::is_ready(&small) != super::is_ready(&large), "{small:?} {large:?}");
    }
}

/// Leaders that were frozen go on for a moment beside their successor; one of these never hears of what the others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rival_controllers_never_grant_what_overlaps() {
    let mut world = World::new().await;
    world.stop_controller().await;
    world.class("fab", fabric(&json!({}))).await;
    world.class("other", fabric(&json!({"subnets": [{"cidr": "10.64.0.0/12", "prefixLength": 20}]}))).await;
    for number in 0..12 {
        let third = number * 16;
        let (small, large) = (format!("10.64.{third}.0/24"), format!("10.64.{third}.0/20"));
        world.network(&format!("shop/s-{number}"), json!({"class": "fab", "subnets": [small]})).await;
        world.network(&format!("shop/l-{number}"), json!({"class": "other", "subnets": [large]})).await;
    }
    let rivals = [controller(&world.store), controller(&world.store)];
    let deaf = controller(&Troubled::held_back(&world.store));
    for number in 0..12 {
        let decided = |network: &Network| super::condition(network, "Ready").is_some();
        world.until(&format!("shop/s-{number}"), "decided", decided).await;
        world.until(&format!("shop/l-{number}"), "decided", decided).await;
        let granted = world.reservations().await.into_iter();
        let granted: Vec<_> =
            granted.filter(super::is_verified).filter_map(|found| found.spec.cidr).collect();
        let of_pair = [format!("10.64.{}.0/24", number * 16), format!("10.64.{}.0/20", number * 16)];
        assert!(!of_pair.iter().all(|cidr| granted.contains(cidr)), "{granted:?}");
    }
    drop((rivals, deaf));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_hears_nothing_looks_itself() {
    let mut world = World::new().await;
    world.stop_controller().await;
    world.network("shop/blue", json!({"provider": "bridge"})).await;
    let _deaf = controller(&Troubled::held_back(&world.store));
    world.until_ready("shop/blue").await;
}

#[tokio::test]
async fn subnets_are_appended_and_never_shifted() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.ready_network("shop/blue", json!({"class": "fab", "subnets": ["10.64.7.0/24"]})).await;
    let reply = world.attach("c1", json!({"runtimeConfig": {"ips": ["10.64.7.9"]}})).await.unwrap();
    let wanted = |subnets: &[&str]| subnets.iter().map(ToString::to_string).collect::<Vec<_>>();
    world.edit("shop/blue", |network| network.spec.subnets = wanted(&["10.64.1.0/24", "10.64.7.0/24"])).await;
    let both = [("10.64.7.0/24".to_owned(), 0), ("10.64.1.0/24".to_owned(), 256)];
    let blue = world.until("shop/blue", "larger", |network| subnets(network).len() == 2).await;
    assert_eq!(subnets(&blue), both);
    world.until_ready("shop/blue").await;
    let second = world.attach("c2", json!({"runtimeConfig": {"ips": ["10.64.1.9"]}})).await.unwrap();
    assert_eq!(second.leases, ["shop.blue-265"]);

    // Whatever the spec says, what attachments use stays.
    world.edit("shop/blue", |network| network.spec.subnets = wanted(&["10.64.1.0/24"])).await;
    assert_eq!(subnets(&world.until_ready("shop/blue").await), both);
    world.release("c1", "try-c1", &reply.leases).await;
    world.release("c2", "try-c2", &second.leases).await;
    let alone = world.until("shop/blue", "smaller", |network| subnets(network).len() == 1).await;
    assert_eq!(subnets(&alone), [("10.64.1.0/24".to_owned(), 256)]);
    world.until_reservations(2).await;
}

#[tokio::test]
async fn the_class_stays_under_running_attachments() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.class("other", fabric(&json!({"subnets": [{"cidr": "10.80.0.0/16", "prefixLength": 24}]}))).await;
    world.ready_network("shop/blue", json!({"class": "fab"})).await;
    let reply = world.attach("c1", json!({})).await.unwrap();
    let to = |class: &'static str| move |network: &mut Network| network.spec.class = Some(class.to_owned());
    world.edit("shop/blue", to("other")).await;
    let message = world.refusal("shop/blue", "FixedWhileAttached").await;
    assert!(message.contains("fab") && message.contains("other") && message.contains('1'), "{message}");
    world.edit("shop/blue", to("fab")).await;
    let same = world.until_ready("shop/blue").await;
    assert_eq!(subnets(&same), [("10.64.0.0/24".to_owned(), 0)]);

    world.edit("shop/blue", to("other")).await;
    world.refusal("shop/blue", "FixedWhileAttached").await;
    world.release("c1", "try-c1", &reply.leases).await;
    let moved = world.until_ready("shop/blue").await;
    assert_eq!(subnets(&moved), [("10.80.0.0/24".to_owned(), 0)]);
    world.until_reservations(2).await;
}

#[tokio::test]
async fn a_new_default_class_moves_nobody() {
    let world = World::new().await;
    let mut first = world.class("first", fabric(&json!({}))).await;
    first.metadata.annotations =
        Some([(knap_api::DEFAULT_CLASS_ANNOTATION.to_owned(), "true".to_owned())].into());
    let mut first = world.store.update(&first).await.unwrap();
    world.ready_network("shop/blue", json!({})).await;
    let mut second = NetworkClass::new("second", first.spec.clone());
    second.metadata.annotations = first.metadata.annotations.take();
    world.store.update(&first).await.unwrap();
    world.store.create(&second).await.unwrap();
    let red = world.ready_network("shop/red", json!({})).await;
    assert_eq!(red.status.unwrap().class.as_deref(), Some("second"));
    let blue = world.until_ready("shop/blue").await;
    assert_eq!(blue.status.unwrap().class.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_quota_is_met_in_the_order_of_creation() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({"access": {"networksPerNamespace": 2}}))).await;
    for name in ["shop/a", "shop/b", "bank/a"] {
        world.ready_network(name, json!({"class": "fab"})).await;
    }
    world.network("shop/c", json!({"class": "fab"})).await;
    let message = world.refusal("shop/c", "OverQuota").await;
    assert!(message.contains("shop") && message.contains("fab"), "{message}");
    world.remove("shop/a").await;
    world.until_ready("shop/c").await;
    world.until_ready("shop/b").await;
}

#[tokio::test]
async fn a_class_can_run_out_and_recover() {
    let world = World::new().await;
    world.class("tiny", fabric(&json!({"subnets": [{"cidr": "10.64.0.0/23", "prefixLength": 24}]}))).await;
    world.ready_network("shop/a", json!({"class": "tiny"})).await;
    world.ready_network("shop/b", json!({"class": "tiny"})).await;
    world.network("shop/c", json!({"class": "tiny"})).await;
    let message = world.refusal("shop/c", "Exhausted").await;
    assert!(message.contains("tiny") && message.contains("10.64.0.0/23"), "{message}");
    world.remove("shop/a").await;
    let c = world.until_ready("shop/c").await;
    assert_eq!(subnets(&c), [("10.64.0.0/24".to_owned(), 0)]);
}

#[tokio::test]
async fn vlans_are_one_networks_each() {
    let world = World::new().await;
    let class = json!({
        "provider": "sriov", "resourceName": "vendor.com/pool", "fabric": "dc-a", "segments": {"vlans": ["100-101"]},
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    });
    world.class("vf", class).await;
    let mut vlans = BTreeSet::new();
    for name in ["shop/a", "shop/b"] {
        let network = world.ready_network(name, json!({"class": "vf"})).await;
        vlans.extend(network.status.unwrap().segment.unwrap().vlan);
    }
    assert_eq!(vlans, [100, 101].into());
    world.network("shop/c", json!({"class": "vf"})).await;
    assert!(world.refusal("shop/c", "Exhausted").await.contains("VLAN"));
    world.remove("shop/b").await;
    let c = world.until_ready("shop/c").await;
    assert_eq!(c.status.unwrap().segment.unwrap().vlan, Some(101));
}

#[tokio::test]
async fn what_is_removed_by_hand_is_reserved_again() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let reply = world.attach("c1", json!({})).await.unwrap();
    let names = || async {
        let mut names: Vec<_> =
            world.reservations().await.into_iter().map(|found| found.metadata.name).collect();
        names.sort();
        names
    };
    let before = names().await;
    for name in before.iter().flatten() {
        let name = ObjectName::cluster(name.as_str());
        world.store.delete::<Reservation>(&name, &Preconditions::default()).await.unwrap();
    }
    world.until_reservations(before.len()).await;
    assert_eq!(names().await, before);
    // It is there before it is verified, and is not served from until then.
    let verified = |found: &Reservation| found.spec.cidr.is_none() || super::is_verified(found);
    while !world.reservations().await.iter().all(verified) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(world.attach("c1", json!({})).await.unwrap().leases, reply.leases);
}

#[tokio::test]
async fn refusals_name_what_to_do() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({"allowRequestedSubnets": false}))).await;
    let cases = [
        (
            "shop/a",
            json!({"provider": "bridge", "addressPolicy": "Sticky"}),
            "StickyUnsupported",
            "Ephemeral",
        ),
        ("shop/b", json!({"class": "none"}), "NoClass", "none"),
        (
            "shop/c",
            json!({"class": "fab", "subnets": ["10.64.1.0/24"]}),
            "NotOffered",
            "allowRequestedSubnets",
        ),
        ("shop/d", json!({"class": "fab", "subnets": ["10.64.1"]}), "InvalidSpec", "10.64.1"),
        ("shop/e", json!({"class": "fab", "provider": "bridge"}), "NoClass", "macvlan"),
    ];
    for (name, spec, reason, word) in cases {
        world.network(name, spec).await;
        let message = world.refusal(name, reason).await;
        assert!(message.contains(word), "{name}: {message}");
    }
    assert!(world.reservations().await.is_empty(), "nothing is reserved for what is refused");
    world.edit("shop/a", |network| network.spec.address_policy = knap_api::AddressPolicy::Ephemeral).await;
    world.until_ready("shop/a").await;
}

#[tokio::test]
async fn an_uplink_is_the_port_of_one_networks_bridge() {
    let world = World::new().await;
    let class = json!({
        "provider": "bridge", "uplinks": [{"interface": "up0"}], "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    });
    world.class("wire", class).await;
    world.ready_network("shop/blue", json!({"class": "wire"})).await;
    world.network("bank/red", json!({"class": "wire"})).await;
    let message = world.refusal("bank/red", "InUse").await;
    assert!(message.contains("shop/blue") && message.contains("wire"), "{message}");
    world.remove("shop/blue").await;
    world.until_ready("bank/red").await;
}
