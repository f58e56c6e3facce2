//! A controller among many Networks.

use std::sync::Arc;

use knap_api::Network;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::fabric;
use crate::provision::{Provisioner, READY, Rules, TURN, condition, is_ready};
use crate::store::{Labels, ObjectName, Preconditions, Store};
use crate::testing::{self, Fate, Troubled, World};
use crate::view::View;

/// Some turns' worth.
const MANY: usize = TURN * 4;

/// A world of many finished Networks, and no controller.
async fn crowd() -> World {
    let mut world = World::new().await;
    let subnets = json!([{"cidr": "10.64.0.0/12", "prefixLength": 24}]);
    world.class("fab", fabric(&json!({"subnets": subnets}))).await;
    for number in 0..MANY {
        world.network(&name(number), json!({"class": "fab"})).await;
    }
    for number in 0..MANY {
        world.until_ready(&name(number)).await;
    }
    world.stop_controller().await;
    world
}

fn name(number: usize) -> String {
    format!("shop/many-{number}")
}

/// Makes the statuses of all of them wrong, in what only an upkeep puts right.
async fn miscount(world: &World) {
    for number in 0..MANY {
        let mut network = world.get(&name(number)).await.unwrap();
        network.status.as_mut().unwrap().attachments = 9;
        world.store.update_status(&network).await.unwrap();
    }
}

/// How many are still wrong.
async fn wrong(world: &World) -> usize {
    let networks: Vec<Network> = world.store.list(&Labels::new()).await.unwrap();
    networks
        .iter()
        .filter(|network| network.status.as_ref().is_some_and(|status| status.attachments == 9))
        .count()
}

/// A controller of Networks alone, and what tells that it has looked at all of them.
fn start<S: Store>(store: &S) -> (JoinSet<()>, oneshot::Receiver<()>) {
    let (view, mut tasks) = View::follow(store);
    let (looked, first_pass) = oneshot::channel();
    tasks.spawn(Provisioner::new(store.clone(), view, Rules::default()).run(looked));
    (tasks, first_pass)
}

/// A store that does one write for each permit.
fn gated<S: Store>(store: &S, gate: &Arc<Semaphore>) -> Troubled<S> {
    let gate = Arc::clone(gate);
    Troubled::new(store, move |call| {
        let gate = Arc::clone(&gate);
        async move {
            if !matches!(call.verb, "get" | "list") {
                gate.acquire().await.unwrap().forget();
            }
            Fate::Served
        }
    })
}

/// Lets one write after the other pass, until this holds.
async fn until<T>(gate: &Semaphore, holds: impl AsyncFn() -> Option<T>) -> T {
    loop {
        if let Some(found) = holds().await {
            return found;
        }
        if gate.available_permits() == 0 {
            gate.add_permits(1);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_finished_costs_no_call() {
    let world = crowd().await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let counted = Arc::clone(&calls);
    let store = Troubled::new(&world.store, move |call| {
        counted.lock().push(call);
        std::future::ready(Fate::Served)
    });
    let (_controller, first_pass) = start(&store);
    first_pass.await.unwrap();
    assert_eq!(*calls.lock(), []);
}

#[tokio::test]
async fn a_quota_holds_though_the_watch_is_late() {
    let mut world = World::new().await;
    world.stop_controller().await;
    world.class("few", fabric(&json!({"access": {"networksPerNamespace": 3}}))).await;
    for number in 0..MANY {
        world.network(&name(number), json!({"class": "few", "ipam": "None"})).await;
    }
    let (_controller, first_pass) = start(&Troubled::held_back(&world.store));
    first_pass.await.unwrap();
    let networks: Vec<Network> = world.store.list(&Labels::new()).await.unwrap();
    let reasons = networks.iter().map(|network| condition(network, READY).unwrap().reason.as_str());
    let (served, refused): (Vec<_>, Vec<_>) = reasons.partition(|reason| *reason == "Ready");
    assert_eq!(served.len(), 3, "{served:?}");
    assert!(refused.iter().all(|reason| *reason == "OverQuota"), "{refused:?}");
}

#[tokio::test]
async fn a_new_network_does_not_wait_for_the_upkeep_of_many() {
    let world = crowd().await;
    miscount(&world).await;
    let gate = Arc::new(Semaphore::new(0));
    let (_controller, first_pass) = start(&gated(&world.store, &gate));
    until(&gate, async || (wrong(&world).await < MANY).then_some(())).await;
    world.network("shop/new", json!({"class": "fab"})).await;
    until(&gate, async || world.get("shop/new").await.filter(is_ready)).await;
    let left = wrong(&world).await;
    assert!(left > 0, "it was served after all others");
    gate.add_permits(MANY * 10);
    first_pass.await.unwrap();
    assert_eq!(wrong(&world).await, 0);
}

#[tokio::test]
async fn who_waits_longest_is_first_also_amid_an_upkeep() {
    let world = crowd().await;
    world.class("tiny", fabric(&json!({"subnets": [{"cidr": "10.99.0.0/24", "prefixLength": 24}]}))).await;
    let mut controller = testing::controller(&world.store);
    world.ready_network("shop/first", json!({"class": "tiny"})).await;
    world.network("shop/older", json!({"class": "tiny"})).await;
    world.refusal("shop/older", "Exhausted").await;
    controller.shutdown().await;
    miscount(&world).await;

    let gate = Arc::new(Semaphore::new(0));
    let (_controller, first_pass) = start(&gated(&world.store, &gate));
    until(&gate, async || (wrong(&world).await < MANY).then_some(())).await;
    world.network("shop/newer", json!({"class": "tiny"})).await;
    let first = ObjectName::namespaced("shop", "first");
    world.store.delete::<Network>(&first, &Preconditions::default()).await.unwrap();
    let older = until(&gate, async || world.get("shop/older").await.filter(is_ready)).await;
    assert!(wrong(&world).await > 0, "{older:?}");
    gate.add_permits(MANY * 10);
    first_pass.await.unwrap();
    assert!(!is_ready(&world.get("shop/newer").await.unwrap()));
}
