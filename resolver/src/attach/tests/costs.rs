//! What an attachment costs the store: one write, and a read of each its Network and its node; its release one write.

use knap_api::NetworkLease;
use serde_json::json;

use crate::attach::Counters;
use crate::metrics::{Measured, Metrics, StoreCalls};
use crate::store::{ObjectName, Store};
use crate::testing::{Replica, Troubled, World};

/// The calls of a store so far, by verb and kind, watches left out.
fn calls_of<S: Store>(calls: &StoreCalls, replica: &Replica<S>) -> Vec<String> {
    let text = Metrics::new(&replica.view, calls, &Counters::default()).text().unwrap();
    let counted = text.lines().filter_map(|line| {
        let (labels, count) =
            line.strip_prefix("knap_store_request_duration_seconds_count{")?.split_once("} ")?;
        let value = |name: &str| {
            let value = labels.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        Some(format!("{} {} {} {count}", value("verb"), value("kind"), value("outcome")))
    });
    let mut counted: Vec<_> = counted.collect();
    counted.sort();
    counted
}

#[tokio::test]
async fn an_attachment_is_one_write_and_a_look_at_network_and_node_and_its_release_one_write() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    // The first of a boot records that.
    let first = world.attach("c0", json!({})).await.unwrap();
    world.release("c0", "try-c0", &first.leases).await;
    let calls = StoreCalls::default();
    let replica = Replica::over(&Measured::new(world.store.clone(), calls.clone())).await;
    for container in ["c1", "c2", "c3"] {
        let reply = replica.attach(container, json!({})).await.unwrap();
        replica.release(container, &format!("try-{container}"), &reply.leases).await.unwrap();
    }
    assert_eq!(
        calls_of(&calls, &replica),
        [
            "create networkleases ok 3",
            "delete networkleases ok 3",
            "get nodeinventories ok 3",
            "get reservations ok 3"
        ]
    );
}

#[tokio::test]
async fn another_replica_releases_unread_what_its_watch_has_told() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let reply = world.attach("c1", json!({})).await.unwrap();
    let calls = StoreCalls::default();
    let replica = Replica::over(&Measured::new(world.store.clone(), calls.clone())).await;
    replica.release("c1", "try-c1", &reply.leases).await.unwrap();
    assert_eq!(calls_of(&calls, &replica), ["delete networkleases ok 1"]);
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn what_has_changed_since_it_was_told_is_read() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let reply = world.attach("c1", json!({})).await.unwrap();
    let deaf = Replica::over(&Troubled::held_back(&world.store)).await;
    let name = ObjectName::cluster(reply.leases[0].as_str());
    let mut lease: NetworkLease = world.store.get(&name).await.unwrap().unwrap();
    lease.metadata.annotations.get_or_insert_default().insert("a".to_owned(), "b".to_owned());
    world.store.update(&lease).await.unwrap();
    deaf.release("c1", "try-c1", &reply.leases).await.unwrap();
    assert!(world.leases().await.is_empty(), "the change is nobody's lease");

    // The same slot, by now another attempt's: what the deaf one believes frees nothing.
    let again = json!({"attempt": "again", "leases": reply.leases});
    let anew = world.attach("c1", again).await.unwrap();
    assert_eq!(anew.leases, reply.leases);
    deaf.release("c1", "try-c1", &reply.leases).await.unwrap();
    assert_eq!(world.leases().await.len(), 1);
    deaf.release("c1", "again", &reply.leases).await.unwrap();
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn among_many_leases_the_view_is_waited_for_and_not_the_store_searched() {
    let mut world = World::new().await;
    let subnets = json!([{"cidr": "10.64.0.0/12", "prefixLength": 20}]);
    world.class("large", json!({"provider": "bridge", "subnets": subnets})).await;
    world.ready_network("shop/blue", json!({"class": "large"})).await;
    // Its writes are changes too, which no watch of leases tells.
    world.stop_controller().await;
    for number in 0..510 {
        world.attach(&format!("c{number}"), json!({})).await.unwrap();
    }
    let calls = StoreCalls::default();
    let measured = Measured::new(world.store.clone(), calls.clone());
    let replica = Replica::over(&measured).await;
    let deaf = Replica::over(&Troubled::held_back(&measured)).await;
    // Made after all that both have been told at their start, by an attempt that never got its answer.
    world.attach("late", json!({})).await.unwrap();
    deaf.release("late", "try-late", &[]).await.unwrap();
    assert_eq!(world.leases().await.len(), 510);
    world.attach("later", json!({})).await.unwrap();
    // That it comes in time is the watch's affair.
    let position = world.store.position::<NetworkLease>().await.unwrap();
    replica.view.leases.told_up_to(position).await;
    let before = calls_of(&calls, &replica);
    assert!(before.contains(&"list networkleases ok 1".to_owned()), "the deaf one searches: {before:?}");
    replica.release("later", "try-later", &[]).await.unwrap();
    assert_eq!(world.leases().await.len(), 510);
    let after = calls_of(&calls, &replica);
    assert!(after.contains(&"list networkleases ok 1".to_owned()), "the other does not: {after:?}");
}
