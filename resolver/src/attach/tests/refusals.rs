//! Who may attach, and when.

use k8s_openapi::api::core::v1::Namespace;
use knap_api::{NetworkLease, Reservation, ReservationStatus};
use serde_json::json;

use super::class_of_rack_a;
use crate::attach::Refusal;
use crate::store::{ObjectName, Preconditions, Store};
use crate::testing::{Replica, Troubled, World, eventually};

fn pod(namespace: &str) -> serde_json::Value {
    json!({"pod": {"namespace": namespace, "name": "web-0", "uid": "u1"}})
}

#[tokio::test]
async fn a_network_is_its_namespaces_own_unless_it_is_shared() {
    let world = World::new().await;
    let class = json!({
        "provider": "macvlan", "uplinks": [{"interface": "up0"}], "allowSharing": true,
        "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 26}]
    });
    world.class("shared", class).await;
    let selector = json!({"matchLabels": {"team": "web"}});
    world
        .ready_network("shop/blue", json!({"class": "shared", "sharedWith": {"namespaceSelector": selector}}))
        .await;
    for (name, labels) in
        [("shop", json!({})), ("web", json!({"team": "web"})), ("bank", json!({"team": "money"}))]
    {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap();
        world.store.create(&namespace).await.unwrap();
    }
    eventually("the replica knows bank", || {
        !world.replica.view.namespaces_labelled("team", "money").is_empty()
    })
    .await;
    world.attach("c1", pod("shop")).await.unwrap();
    world.attach("c2", pod("web")).await.unwrap();
    for stranger in ["bank", "nowhere"] {
        let refusal = world.attach("c3", pod(stranger)).await.unwrap_err();
        assert_eq!(refusal.kind().status(), 403);
        assert!(refusal.to_string().contains(stranger), "{refusal}");
    }
    world.ready_network("shop/red", json!({"class": "shared"})).await;
    let mut request = pod("web");
    request["network"] = json!("shop/red");
    assert!(world.attach("c4", request).await.unwrap_err().to_string().contains("not shared"));
}

#[tokio::test]
async fn a_namespace_that_the_view_does_not_know_yet_is_read_before_it_is_permitted() {
    let world = World::new().await;
    let class = json!({
        "provider": "macvlan", "uplinks": [{"interface": "up0"}], "allowSharing": true,
        "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 26}]
    });
    world.class("shared", class).await;
    let but_banks = json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["money"]}]});
    let spec = json!({"class": "shared", "sharedWith": {"namespaceSelector": but_banks}});
    world.ready_network("shop/blue", spec).await;
    let namespace = async |name: &str, labels: serde_json::Value| {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        world.store.create(&serde_json::from_value::<Namespace>(namespace).unwrap()).await.unwrap();
    };
    namespace("shop", json!({})).await;
    let behind = Replica::over(&Troubled::held_back(&world.store)).await;
    namespace("bank", json!({"team": "money"})).await;
    namespace("web", json!({"team": "web"})).await;
    let refusal = behind.attach("c1", pod("bank")).await.unwrap_err();
    assert_eq!(refusal.kind().status(), 403, "{refusal}");
    behind.attach("c2", pod("web")).await.unwrap();
    assert_eq!(world.leases().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespaces_quota_is_exact_among_many_at_once() {
    let world = World::new().await;
    let class = json!({
        "provider": "macvlan", "uplinks": [{"interface": "up0"}],
        "subnets": [{"cidr": "10.9.0.0/16", "prefixLength": 24}], "access": {"attachmentsPerNamespace": 7}
    });
    world.class("limited", class).await;
    world.ready_network("shop/blue", json!({"class": "limited"})).await;
    world.ready_network("shop/red", json!({"class": "limited"})).await;
    let names: Vec<String> = (0..30).map(|number| format!("c{number}")).collect();
    let asks = names.iter().enumerate().map(|(number, name)| {
        let network = if number % 2 == 0 { "shop/blue" } else { "shop/red" };
        world.attach(name, json!({"network": network}))
    });
    let answers = futures::future::join_all(asks).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 7);
    for refusal in answers.into_iter().filter_map(Result::err) {
        assert_eq!(refusal.kind().status(), 429, "{refusal}");
    }
    let leases = world.leases().await;
    let holder = &leases[0].spec.holders[0];
    world.release(&holder.container_id, &holder.attempt, &[]).await;
    world.attach("late", json!({})).await.unwrap();
}

/// Loses a lease, as when etcd is set back to an older state.
async fn lose(world: &World, lease: &str) {
    let name = ObjectName::cluster(lease);
    world.store.delete::<NetworkLease>(&name, &Preconditions::default()).await.unwrap();
    let left = world.leases().await.len();
    eventually("the replica knows", || world.replica.view.leases.len() == left).await;
}

#[tokio::test]
async fn what_runs_keeps_its_address_over_its_namespaces_quota() {
    let world = World::new().await;
    let class = json!({
        "provider": "macvlan", "uplinks": [{"interface": "up0"}],
        "subnets": [{"cidr": "10.9.0.0/16", "prefixLength": 24}], "access": {"attachmentsPerNamespace": 1}
    });
    world.class("limited", class).await;
    world.ready_network("shop/blue", json!({"class": "limited"})).await;
    let running = world.attach("c1", json!({"runtimeConfig": {"ips": ["10.9.0.5"]}})).await.unwrap();
    lose(&world, &running.leases[0]).await;
    world.attach("c2", json!({"runtimeConfig": {"ips": ["10.9.0.6"]}})).await.unwrap();
    let again = world.attach("c1", json!({"leases": running.leases})).await.unwrap();
    assert_eq!(again.addresses, running.addresses);
    assert_eq!(world.attach("c3", json!({})).await.unwrap_err().kind().status(), 429);
    assert_eq!(world.leases().await.len(), 2);
}

#[tokio::test]
async fn what_runs_keeps_its_address_where_it_would_not_be_permitted_any_more_and_gets_nothing_else() {
    let world = World::new().await;
    let class = json!({
        "provider": "macvlan", "uplinks": [{"interface": "up0"}], "allowSharing": true,
        "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 26}]
    });
    world.class("shared", class).await;
    let everybody = json!({"class": "shared", "sharedWith": {"namespaceSelector": {}}});
    world.ready_network("shop/blue", everybody).await;
    let running = world.attach("c1", pod("web")).await.unwrap();
    world.edit("shop/blue", |network| network.spec.shared_with = None).await;
    world.until_ready("shop/blue").await;
    lose(&world, &running.leases[0]).await;
    let mut again = pod("web");
    again["leases"] = json!(running.leases);
    let refusal = world.attach("c1", again.clone()).await.unwrap_err();
    assert_eq!(refusal.kind().status(), 403, "{refusal}");
    let leases = world.leases().await;
    assert_eq!((leases.len(), leases[0].spec.holders[0].container_id.as_str()), (1, "c1"));
    // It is asserted, so nobody else has it; and who has nothing gets nothing.
    assert_eq!(world.attach("c2", again).await.unwrap_err().kind().status(), 409);
    assert_eq!(world.attach("c2", pod("web")).await.unwrap_err().kind().status(), 403);
    assert_eq!(world.leases().await.len(), 1);
}

#[tokio::test]
async fn unknown_unready_and_late_are_told_apart() {
    let world = World::new().await;
    let refusal = world.attach("c1", json!({"network": "shop/nothing"})).await.unwrap_err();
    assert_eq!(refusal.kind().status(), 404, "{refusal}");
    world.network("shop/blue", json!({"class": "missing"})).await;
    let message = world.refusal("shop/blue", "NoClass").await;
    eventually("the replica sees the condition", || {
        let name = "shop/blue".parse().unwrap();
        world.replica.view.network(&name).is_some_and(|network| network.status.is_some())
    })
    .await;
    let refusal = world.attach("c1", json!({})).await.unwrap_err();
    assert_eq!(refusal.kind().status(), 422, "waiting does not help");
    assert!(refusal.to_string().contains(&message) && message.contains("missing"), "{refusal}");
    world.ready_network("shop/red", json!({"provider": "bridge"})).await;
    let late = world.attach("c1", json!({"network": "shop/red", "deadlineSeconds": 0})).await.unwrap_err();
    assert!(matches!(late, Refusal::Deadline(_)), "{late}");
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn a_node_without_an_uplink_is_refused_before_anything_is_made() {
    let world = World::new().await;
    class_of_rack_a(&world).await;
    world.ready_network("shop/blue", json!({"class": "racks"})).await;
    let node: k8s_openapi::api::core::v1::Node =
        serde_json::from_value(json!({"metadata": {"name": "n1", "labels": {"rack": "b"}}})).unwrap();
    world.store.create(&node).await.unwrap();
    eventually("the replica knows the node", || world.replica.view.node("n1").is_some()).await;
    let refusal = world.attach("c1", json!({})).await.unwrap_err();
    assert_eq!(refusal.kind().status(), 422, "{refusal}");
    assert!(refusal.to_string().contains("n1") && refusal.to_string().contains("uplink"), "{refusal}");
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn what_is_given_up_or_not_verified_is_not_served_whatever_the_view_says() {
    let mut world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let stale = Replica::over(&Troubled::held_back(&world.store)).await;
    let running = stale.attach("c0", json!({})).await.unwrap();
    world.stop_controller().await;
    let reservations = world.reservations().await;
    let subnet = ObjectName::of(reservations.iter().find(|found| found.spec.cidr.is_some()).unwrap());
    for (verified, draining, word) in [(true, true, "given up"), (false, false, "verified")] {
        let mut now: Reservation = world.store.get(&subnet).await.unwrap().unwrap();
        now.status = Some(ReservationStatus { verified, draining });
        world.store.update_status(&now).await.unwrap();
        for container in ["c0", "c1"] {
            let refusal = stale.attach(container, json!({})).await.unwrap_err();
            assert_eq!(refusal.kind().status(), 503, "{refusal}");
            assert!(refusal.to_string().contains(word), "{refusal}");
        }
        let left: Vec<_> = world.leases().await.into_iter().filter_map(|lease| lease.metadata.name).collect();
        assert_eq!(left, running.leases, "the new one is withdrawn, the running one is left alone");
    }
    world.store.delete::<Reservation>(&subnet, &Preconditions::default()).await.unwrap();
    assert!(stale.attach("c1", json!({})).await.unwrap_err().to_string().contains("gone"));
}

#[tokio::test]
async fn nobody_is_refused_by_what_a_view_that_is_behind_says_of_a_network() {
    let world = World::new().await;
    let class = json!({
        "provider": "macvlan", "uplinks": [{"interface": "up0"}], "allowRequestedSubnets": true,
        "subnets": [{"cidr": "10.9.0.0/16", "prefixLength": 24}]
    });
    world.class("fab", class).await;
    let subnet = json!({"class": "fab", "subnets": ["10.9.7.0/24"]});
    world.ready_network("bank/red", subnet.clone()).await;
    world.network("shop/blue", subnet).await;
    world.refusal("shop/blue", "Conflict").await;
    let stale = Replica::over(&Troubled::held_back(&world.store)).await;
    let refusal = stale.attach("c1", json!({})).await.unwrap_err();
    assert!(refusal.to_string().contains("10.9.7.0/24"), "{refusal}");
    world.remove("bank/red").await;
    world.until_ready("shop/blue").await;
    for container in ["c1", "c2"] {
        stale.attach(container, json!({})).await.unwrap();
    }
    assert_eq!(world.leases().await.len(), 2);
}
