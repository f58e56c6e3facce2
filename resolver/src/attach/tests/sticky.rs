//! Addresses that are kept for StatefulSets' pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Node;
use knap_api::AddressPolicy;
use knap_protocol::{AttachReply, ProblemKind};
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::class_of_rack_a;
use crate::attach::Refusal;
use crate::claims::Claims;
use crate::identity::BoundPod;
use crate::provision::Rules;
use crate::store::{Labels, ObjectName, Preconditions, Store};
use crate::testing::{Fate, Replica, Troubled, World, eventually};
use crate::view::Change;

/// A cluster with a sticky Network, and a StatefulSet `shop/web`.
async fn world() -> World {
    let world = World::by(Rules { sticky: true }).await;
    world.ready_network("shop/blue", json!({"provider": "bridge", "addressPolicy": "Sticky"})).await;
    let web = json!({"metadata": {"name": "web", "namespace": "shop"}});
    world.store.create(&serde_json::from_value::<StatefulSet>(web).unwrap()).await.unwrap();
    for ordinal in 0..3 {
        make_pod(&world, &format!("web-{ordinal}"), "StatefulSet", "web").await;
    }
    world
}

async fn make_pod(world: &World, name: &str, kind: &str, owner: &str) {
    let uid = match world.store.get::<StatefulSet>(&ObjectName::namespaced("shop", owner)).await.unwrap() {
        Some(owner) => owner.uid().unwrap(),
        None => "none".to_owned(),
    };
    let owner = json!({"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": uid, "controller": true});
    let pod = json!({"metadata": {"name": name, "namespace": "shop", "ownerReferences": [owner]}});
    world.store.create(&serde_json::from_value::<BoundPod>(pod).unwrap()).await.unwrap();
}

fn of(pod: &str) -> Value {
    json!({"pod": {"namespace": "shop", "name": pod}})
}

async fn attached(world: &World, container: &str, pod: &str) -> AttachReply {
    world.attach(container, of(pod)).await.unwrap()
}

async fn claims(world: &World) -> Claims<crate::store::embedded::EmbeddedStore> {
    world.replica.view.current().await;
    Claims::new(world.store.clone(), Arc::clone(&world.replica.view))
}

/// Frees what is kept for nobody, until so many leases are left.
async fn until_leases(world: &World, count: usize) {
    let claims = claims(world).await;
    for _ in 0..2000 {
        claims.free_unneeded().await;
        if world.leases().await.len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not {count} leases: {:#?}", world.leases().await);
}

#[tokio::test]
async fn the_next_pod_of_an_ordinal_has_the_same_address() {
    let world = world().await;
    let first = attached(&world, "c1", "web-0").await;
    let other = attached(&world, "c2", "web-1").await;
    assert_ne!(first.addresses, other.addresses);
    world.release("c1", "try-c1", &first.leases).await;
    // Somebody else comes and does not get it, however many.
    for number in 0..8 {
        make_pod(&world, &format!("job-{number}"), "Job", "job").await;
        let reply = attached(&world, &format!("j{number}"), &format!("job-{number}")).await;
        assert_ne!(reply.addresses, first.addresses);
    }
    until_leases(&world, 10).await;
    let again = attached(&world, "c3", "web-0").await;
    assert_eq!((&again.leases, &again.addresses, &again.mac), (&first.leases, &first.addresses, &first.mac));
    assert_eq!(attached(&world, "c3", "web-0").await.leases, first.leases, "asked twice");
    assert_eq!(world.leases().await.len(), 10);
}

#[tokio::test]
async fn it_is_given_when_the_one_before_has_let_go() {
    let world = world().await;
    let first = attached(&world, "c1", "web-0").await;
    let refusal = world.attach("c2", of("web-0")).await.unwrap_err();
    assert!(matches!(refusal, Refusal::StillHeld { .. }), "{refusal}");
    assert_eq!(refusal.kind(), ProblemKind::Unavailable);
    for word in ["pod shop/web-0", "shop.blue-", "node n1"] {
        assert!(refusal.to_string().contains(word), "{refusal}");
    }
    world.release("c1", "try-c1", &first.leases).await;
    assert_eq!(attached(&world, "c2", "web-0").await.leases, first.leases);
    assert_eq!(world.leases().await.len(), 1);
}

#[tokio::test]
async fn pods_that_nobody_makes_again_keep_nothing() {
    let world = world().await;
    make_pod(&world, "shop-5d9f-x2x", "ReplicaSet", "shop-5d9f").await;
    let reply = attached(&world, "c1", "shop-5d9f-x2x").await;
    world.release("c1", "try-c1", &reply.leases).await;
    assert!(world.leases().await.is_empty());
    // One that asks for an address itself gets that, and no other.
    let asked =
        json!({"pod": {"namespace": "shop", "name": "web-0"}, "runtimeConfig": {"ips": ["100.96.0.77"]}});
    let reply = world.attach("c2", asked).await.unwrap();
    assert_eq!(reply.addresses[0].to_string(), "100.96.0.77/24");
    world.release("c2", "try-c2", &reply.leases).await;
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn what_is_kept_goes_with_its_owner() {
    let world = world().await;
    let reply = attached(&world, "c1", "web-0").await;
    world.release("c1", "try-c1", &reply.leases).await;
    until_leases(&world, 1).await;
    let web = ObjectName::namespaced("shop", "web");
    world.store.delete::<StatefulSet>(&web, &Preconditions::default()).await.unwrap();
    until_leases(&world, 0).await;
    let left = world.reservations().await;
    assert!(left.iter().all(|left| !left.name_any().starts_with("claim-")), "{left:#?}");
}

#[tokio::test]
async fn what_is_kept_goes_when_the_network_keeps_no_addresses_any_more() {
    let world = world().await;
    let reply = attached(&world, "c1", "web-0").await;
    world.release("c1", "try-c1", &reply.leases).await;
    until_leases(&world, 1).await;
    world.edit("shop/blue", |network| network.spec.address_policy = AddressPolicy::Ephemeral).await;
    until_leases(&world, 0).await;
}

#[tokio::test]
async fn what_is_kept_does_not_keep_a_network_that_is_removed() {
    let world = world().await;
    let reply = attached(&world, "c1", "web-0").await;
    world.release("c1", "try-c1", &reply.leases).await;
    world.remove("shop/blue").await;
    until_leases(&world, 0).await;
    world.until_reservations(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_replicas_are_asked_at_once_one_lease_is_kept() {
    let world = world().await;
    let mut replicas = vec![Replica::over(&world.store).await, Replica::over(&world.store).await];
    replicas.push(Replica::over(&world.store).await);
    let deaf = Replica::over(&Troubled::held_back(&world.store)).await;
    for round in 0..10 {
        let asked = replicas.iter().enumerate().map(|(number, replica)| {
            let container = format!("c{round}-{number}");
            async move { (replica.attach(&container, of("web-0")).await, container) }
        });
        let answers = futures::future::join_all(asked).await;
        let won: Vec<_> = answers
            .iter()
            .filter_map(|(answer, container)| Some((answer.as_ref().ok()?, container)))
            .collect();
        assert!(won.len() <= 1, "{answers:?}");
        for (reply, container) in won {
            let attempt = format!("try-{container}");
            deaf.release(container, &attempt, &reply.leases).await.unwrap();
        }
        let kept = world.store.list::<knap_api::NetworkLease>(&Labels::new()).await.unwrap();
        assert!(kept.len() <= 1 && kept.iter().all(|lease| lease.spec.holders.is_empty()), "{kept:#?}");
    }
    let last = attached(&world, "last", "web-0").await;
    assert_eq!(world.leases().await.len(), 1);
    assert_eq!(world.leases().await[0].name_any(), last.leases[0]);
}

#[tokio::test]
async fn a_lost_lease_is_asserted_again_and_kept_again() {
    let world = world().await;
    let reply = attached(&world, "c1", "web-0").await;
    let lease = ObjectName::cluster(reply.leases[0].as_str());
    world.store.delete::<knap_api::NetworkLease>(&lease, &Preconditions::default()).await.unwrap();
    let mut again = of("web-0");
    // As the plugin does, which keeps what it was answered.
    again["runtimeConfig"] = json!({"mac": reply.mac});
    again["leases"] = json!(reply.leases);
    assert_eq!(world.attach("c1", again).await.unwrap().leases, reply.leases);
    world.release("c1", "try-c1", &reply.leases).await;
    assert_eq!(attached(&world, "c2", "web-0").await.leases, reply.leases);
}

#[tokio::test]
async fn a_node_that_can_not_serve_it_does_not_take_what_is_kept() {
    let world = World::by(Rules { sticky: true }).await;
    class_of_rack_a(&world).await;
    world.ready_network("shop/blue", json!({"class": "racks", "addressPolicy": "Sticky"})).await;
    let web = json!({"metadata": {"name": "web", "namespace": "shop"}});
    world.store.create(&serde_json::from_value::<StatefulSet>(web).unwrap()).await.unwrap();
    make_pod(&world, "web-0", "StatefulSet", "web").await;
    let node = |rack: &str| -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n1", "labels": {"rack": rack}}})).unwrap()
    };
    let known = async |rack: &str| {
        let knows = || {
            world
                .replica
                .view
                .node("n1")
                .is_some_and(|node| node.labels.get("rack").is_some_and(|is| is == rack))
        };
        eventually("the replica knows the node", knows).await;
    };
    let made = world.store.create(&node("a")).await.unwrap();
    known("a").await;
    let first = attached(&world, "c1", "web-0").await;
    world.release("c1", "try-c1", &first.leases).await;
    let mut elsewhere = node("b");
    elsewhere.metadata.resource_version = made.metadata.resource_version;
    elsewhere.metadata.uid = made.metadata.uid;
    world.store.update(&elsewhere).await.unwrap();
    known("b").await;
    let refusal = world.attach("c2", of("web-0")).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Provider { .. }), "{refusal}");
    assert!(world.leases().await[0].spec.holders.is_empty(), "the next one finds it free");
}

#[tokio::test]
async fn one_look_answers_for_all_networks_that_went_before_it() {
    let world = world().await;
    let reply = attached(&world, "c1", "web-0").await;
    world.release("c1", "try-c1", &reply.leases).await;
    let view = Arc::clone(&world.replica.view);
    eventually("the kept lease is known", || view.leases.unheld().len() == 1).await;
    let (looks, held_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, held) = (Arc::clone(&looks), Arc::clone(&held_up));
    let store = Troubled::new(&world.store, move |call| {
        let (counted, held) = (Arc::clone(&counted), Arc::clone(&held));
        async move {
            if (call.verb, &*call.kind) == ("get", "networkleases") {
                counted.fetch_add(1, Ordering::SeqCst);
                drop(held.acquire().await);
            }
            Fate::Served
        }
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(Claims::new(store, Arc::clone(&view)).run());
    eventually("the first look has begun", || looks.load(Ordering::SeqCst) == 1).await;
    for _ in 0..100 {
        view.tell(&Change::NetworkGone);
    }
    held_up.add_permits(1);
    eventually("it looks again", || looks.load(Ordering::SeqCst) > 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(looks.load(Ordering::SeqCst), 2, "and no more than that");
}
