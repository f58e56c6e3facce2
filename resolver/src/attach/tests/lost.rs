//! Answers of the store that are lost on the way: nothing is left of what was refused, or the caller hears that something may be.

use std::sync::atomic::{AtomicBool, Ordering};

use knap_api::{Reservation, ReservationStatus};
use knap_protocol::ProblemKind;
use serde_json::{Value, json};

use crate::attach::Refusal;
use crate::store::embedded::EmbeddedStore;
use crate::store::{ObjectName, Store};
use crate::testing::{Fate, Replica, Troubled, World};

/// Asks for an address, and for a MAC address that pod `c0` has by now: one lease is made, and then the asker is refused.
fn asking(address: &str) -> Value {
    json!({"runtimeConfig": {"ips": [address], "mac": "02:00:00:00:00:01"}})
}

async fn world() -> World {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    world.attach("c0", asking("100.96.0.5")).await.unwrap();
    world
}

/// A replica whose first call of this kind about leases meets this fate.
async fn first(world: &World, verb: &'static str, fate: Fate) -> Replica<Troubled<EmbeddedStore>> {
    let met = AtomicBool::new(false);
    let store = Troubled::new(&world.store, move |call| {
        let meets = call.verb == verb && call.kind == "networkleases" && !met.swap(true, Ordering::SeqCst);
        std::future::ready(if meets { fate } else { Fate::Served })
    });
    Replica::over(&store).await
}

async fn leases(world: &World) -> Vec<String> {
    world.leases().await.into_iter().filter_map(|lease| lease.metadata.name).collect()
}

#[tokio::test]
async fn a_lease_whose_create_was_not_answered_is_withdrawn_all_the_same() {
    let world = world().await;
    let replica = first(&world, "create", Fate::Unanswered).await;
    let refusal = replica.attach("c1", asking("100.96.0.6")).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Taken { .. }) && !refusal.is_unsettled(), "{refusal:?}");
    assert_eq!(leases(&world).await, ["shop.blue-5"]);
}

#[tokio::test]
async fn who_is_refused_hears_of_a_lease_that_could_not_be_withdrawn() {
    let world = world().await;
    let replica = first(&world, "delete", Fate::Lost).await;
    let refusal = replica.attach("c1", asking("100.96.0.6")).await.unwrap_err();
    assert_eq!((refusal.kind(), refusal.is_unsettled()), (ProblemKind::Taken, true), "{refusal:?}");
    assert_eq!(leases(&world).await, ["shop.blue-5", "shop.blue-6"]);
    replica.release("c1", "try-c1", &[]).await.unwrap();
    assert_eq!(leases(&world).await, ["shop.blue-5"]);
}

#[tokio::test]
async fn what_a_running_attachment_has_is_not_withdrawn_for_an_answer_that_was_lost() {
    let mut world = world().await;
    world.stop_controller().await;
    let replica = first(&world, "create", Fate::Lost).await;
    let reservations = world.reservations().await;
    let subnet = ObjectName::of(reservations.iter().find(|found| found.spec.cidr.is_some()).unwrap());
    let mut draining: Reservation = world.store.get(&subnet).await.unwrap().unwrap();
    draining.status = Some(ReservationStatus { verified: true, draining: true });
    world.store.update_status(&draining).await.unwrap();
    let mut again = asking("100.96.0.5");
    again["leases"] = json!(["shop.blue-5"]);
    let refusal = replica.attach("c0", again).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Closed { .. }), "{refusal:?}");
    assert_eq!(leases(&world).await, ["shop.blue-5"]);
}
