//! What a request may ask for: addresses and MACs in CNI's forms.

use serde_json::json;

use crate::testing::World;

async fn dual_stack() -> World {
    let world = World::new().await;
    let spec = json!({
        "provider": "macvlan", "uplinks": [{"interface": "up0"}],
        "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 24, "gateway": "First"}, {"cidr": "fd00:9::/64", "prefixLength": 64}]
    });
    world.class("dual", spec).await;
    world.ready_network("shop/blue", json!({"class": "dual", "reserved": ["10.9.0.200-10.9.0.210"]})).await;
    world
}

fn addresses(reply: &knap_protocol::AttachReply) -> Vec<String> {
    reply.addresses.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_address_asked_for_takes_the_slot_that_it_implies() {
    let world = dual_stack().await;
    let forms = [
        json!({"runtimeConfig": {"ips": ["10.9.0.5"]}}),
        json!({"runtimeConfig": {"ips": ["10.9.0.6/24"]}}),
        json!({"args": {"ips": ["fd00:9::7/64"]}}),
        json!({"args": {"ips": ["10.9.0.99"]}, "runtimeConfig": {"ips": ["10.9.0.8", "fd00:9::8"]}}),
    ];
    for (host, form) in (5..9).zip(forms) {
        let reply = world.attach(&format!("c{host}"), form).await.unwrap();
        assert_eq!(addresses(&reply), [format!("10.9.0.{host}/24"), format!("fd00:9::{host}/64")]);
        assert_eq!(reply.leases, [format!("shop.blue-{host}")]);
        assert!(reply.mac.unwrap().ends_with(&format!(":00:00:{host:02x}")));
    }
}

#[tokio::test]
async fn addresses_of_two_slots_take_two_leases_or_none() {
    let world = dual_stack().await;
    let ask = json!({"runtimeConfig": {"ips": ["fd00:9::5", "10.9.0.9"]}});
    let reply = world.attach("c1", ask.clone()).await.unwrap();
    assert_eq!(reply.leases, ["shop.blue-5", "shop.blue-9"]);
    assert_eq!(addresses(&reply), ["10.9.0.9/24", "fd00:9::5/64"]);
    let again = world.attach("c1", ask).await.unwrap();
    assert_eq!(
        (again.leases, again.addresses, again.mac),
        (reply.leases.clone(), reply.addresses, reply.mac)
    );

    let refusal =
        world.attach("c2", json!({"runtimeConfig": {"ips": ["fd00:9::9", "10.9.0.4"]}})).await.unwrap_err();
    assert!(refusal.to_string().contains("fd00:9::9") && refusal.to_string().contains("c1"), "{refusal}");
    assert_eq!(world.leases().await.len(), 2, "what was made of the refused one is undone");

    world.release("c1", "try-c1", &reply.leases).await;
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn what_nobody_gets_is_refused_by_name() {
    let world = dual_stack().await;
    let cases = [
        (json!({"ips": ["10.9.0.1"]}), 422, "gateway"),
        (json!({"ips": ["10.9.0.0"]}), 422, "10.9.0.0"),
        (json!({"ips": ["10.9.0.255"]}), 422, "broadcast"),
        (json!({"ips": ["10.9.0.205"]}), 422, "reserved"),
        (json!({"ips": ["10.8.0.5"]}), 422, "10.9.0.0/24"),
        (json!({"ips": ["10.9.0.5", "10.9.0.6"]}), 422, "both IPv4"),
        (json!({"ips": ["10.9.0"]}), 422, "not an address"),
        (json!({"ips": "10.9.0.5"}), 422, "list"),
        (json!({"mac": "0a:00:00:00:00:01"}), 422, "0a:"),
        (json!({"mac": "01:00:00:00:00:01"}), 422, "group address"),
        (json!({"mac": 7}), 422, "text"),
        (json!({"ips": ["fd00:9::c8"]}), 422, "IPv4"),
    ];
    for (ask, status, word) in cases {
        let refusal = world.attach("c1", json!({"runtimeConfig": ask})).await.unwrap_err();
        assert_eq!(refusal.kind().status(), status, "{ask}: {refusal}");
        assert!(refusal.to_string().contains(word), "{ask}: {refusal}");
        assert!(refusal.to_string().contains("shop/blue"), "{ask}: {refusal}");
    }
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn a_mac_asked_for_is_reserved_and_freed() {
    let world = dual_stack().await;
    let before = world.reservations().await.len();
    let ask = json!({"runtimeConfig": {"mac": "02:00:5E:10:00:01"}});
    let reply = world.attach("c1", ask.clone()).await.unwrap();
    assert_eq!(reply.mac.as_deref(), Some("02:00:5e:10:00:01"));
    assert_eq!(world.attach("c1", ask.clone()).await.unwrap().leases, reply.leases);
    let refusal = world.attach("c2", ask.clone()).await.unwrap_err();
    assert_eq!(refusal.kind().status(), 409, "{refusal}");
    assert!(
        refusal.to_string().contains("02:00:5e:10:00:01") && refusal.to_string().contains("c1"),
        "{refusal}"
    );
    assert_eq!((world.leases().await.len(), world.reservations().await.len()), (1, before + 1));
    world.release("c1", "try-c1", &[]).await;
    assert_eq!((world.leases().await.len(), world.reservations().await.len()), (0, before));
    world.attach("c3", ask).await.unwrap();
}

#[tokio::test]
async fn a_slots_own_mac_takes_the_slot() {
    let world = dual_stack().await;
    let first = world.attach("c1", json!({"runtimeConfig": {"ips": ["10.9.0.77"]}})).await.unwrap();
    world.release("c1", "try-c1", &first.leases).await;
    let again = world.attach("c2", json!({"args": {"mac": first.mac}})).await.unwrap();
    assert_eq!((again.leases, again.addresses), (first.leases, first.addresses));
}

#[tokio::test]
async fn an_address_beyond_the_slots_is_reserved_and_freed() {
    let world = dual_stack().await;
    let before = world.reservations().await.len();
    let ask = json!({"runtimeConfig": {"ips": ["fd00:9::1:0:0:5"]}});
    let reply = world.attach("c1", ask.clone()).await.unwrap();
    assert!(addresses(&reply)[0].starts_with("10.9.0."), "{reply:?}");
    assert_eq!(addresses(&reply)[1], "fd00:9::1:0:0:5/64");
    let refusal = world.attach("c2", ask).await.unwrap_err();
    assert_eq!(refusal.kind().status(), 409, "{refusal}");
    world.release("c1", "try-c1", &reply.leases).await;
    assert_eq!((world.leases().await.len(), world.reservations().await.len()), (0, before));
}

#[tokio::test]
async fn without_addresses_slots_still_give_macs() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge", "ipam": "None"})).await;
    let one = world.attach("c1", json!({"runtimeConfig": {"ips": ["10.9.0.5"]}})).await.unwrap();
    let other = world.attach("c2", json!({})).await.unwrap();
    assert!(one.addresses.is_empty() && one.mac.is_some() && one.mac != other.mac, "{one:?} {other:?}");
}
