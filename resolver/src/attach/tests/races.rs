//! Many at once: no address twice, nothing left.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use knap_core::SlotRanges;
use knap_protocol::{AttachReply, ProblemKind};
use serde_json::json;

use crate::attach::Refusal;
use crate::testing::{Replica, Troubled, World, attach};

/// Fails if two replies share an address or a MAC.
fn assert_distinct(replies: &[AttachReply]) {
    let addresses: BTreeSet<_> = replies.iter().flat_map(|reply| &reply.addresses).collect();
    let macs: BTreeSet<_> = replies.iter().filter_map(|reply| reply.mac.as_ref()).collect();
    assert_eq!(addresses.len(), replies.iter().map(|reply| reply.addresses.len()).sum::<usize>());
    assert_eq!(macs.len(), replies.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_get_two_hundred_addresses_and_leave_nothing() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let tasks = (0..200).map(|number| {
        let attacher = Arc::clone(&world.replica.attacher);
        tokio::spawn(async move { attach(&attacher, &format!("c{number}"), json!({})).await.unwrap() })
    });
    let replies: Vec<AttachReply> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_distinct(&replies);
    assert_eq!(world.leases().await.len(), 200);
    let releases = replies.iter().enumerate().map(|(number, reply)| {
        let (container, attempt) = (format!("c{number}"), format!("try-c{number}"));
        let leases = reply.leases.clone();
        let world = &world;
        async move { world.release(&container, &attempt, &leases).await }
    });
    join_all(releases).await;
    assert!(world.leases().await.is_empty());
    crate::testing::eventually("the view forgets them", || world.replica.view.leases.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_a_full_subnet_exactly() {
    let world = World::new().await;
    world.class("small", json!({"provider": "macvlan", "uplinks": [{"interface": "up0"}], "subnets": [{"cidr": "10.9.0.0/26", "prefixLength": 26}]})).await;
    world.ready_network("shop/blue", json!({"class": "small"})).await;
    let held = Troubled::held_back(&world.store);
    let (current, stale) = (Replica::over(&world.store).await, Replica::over(&held).await);
    let tasks = (0..80).map(|number| {
        let (current, stale) = (&current, &stale);
        async move {
            let container = format!("c{number}");
            if number % 2 == 0 {
                current.attach(&container, json!({})).await
            } else {
                stale.attach(&container, json!({})).await
            }
        }
    });
    let (served, refused): (Vec<_>, Vec<_>) = join_all(tasks).await.into_iter().partition(Result::is_ok);
    let served: Vec<AttachReply> = served.into_iter().map(Result::unwrap).collect();
    assert_eq!(served.len(), 62, "all of a /26 but its network and broadcast addresses");
    assert_distinct(&served);
    for refusal in refused.into_iter().filter_map(Result::err) {
        assert_eq!(refusal.kind(), ProblemKind::Full, "{refusal}");
        assert!(refusal.to_string().contains("shop/blue"), "{refusal}");
    }
    let lease = &served[0].leases;
    let container =
        world.leases().await.into_iter().find(|found| found.metadata.name.as_ref() == lease.first());
    let holder = container.unwrap().spec.holders.remove(0);
    current.release(&holder.container_id, &holder.attempt, lease).await.unwrap();
    // What the stale replica believes to be taken is free: it says "full" only after a look.
    let again = stale.attach("late", json!({})).await.unwrap();
    assert_eq!(again.addresses, served[0].addresses);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_attempt_asked_of_two_replicas_is_one_lease() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let held = Troubled::held_back(&world.store);
    let (one, other) = (Replica::over(&held).await, Replica::over(&held).await);
    for number in 0..20 {
        let container = format!("c{number}");
        let (first, second) =
            tokio::join!(one.attach(&container, json!({})), other.attach(&container, json!({})));
        assert_eq!(first.unwrap().leases, second.unwrap().leases);
    }
    assert_eq!(world.leases().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_racing_for_one_address_leave_one() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let other = Replica::over(&world.store).await;
    for number in 5..25 {
        let ask = json!({"runtimeConfig": {"ips": [format!("100.96.0.{number}")]}});
        let (left, right) = (format!("l{number}"), format!("r{number}"));
        let (left, right) = tokio::join!(world.attach(&left, ask.clone()), other.attach(&right, ask));
        let refusal = match (left, right) {
            (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => refusal,
            both => panic!("{both:?}"),
        };
        assert!(matches!(refusal, Refusal::Taken { .. }), "{refusal}");
        assert!(refusal.to_string().contains(&format!("100.96.0.{number}")), "{refusal}");
    }
    assert_eq!(world.leases().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_that_overtakes_its_put_wins() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    for number in 0..50 {
        let container = format!("c{number}");
        let attempt = format!("try-{container}");
        let put = world.attach(&container, json!({}));
        let delete = async {
            for _ in 0..number {
                tokio::task::yield_now().await;
            }
            world.release(&container, &attempt, &[]).await;
        };
        let (put, ()) = tokio::join!(put, delete);
        if let Err(refusal) = put {
            assert!(matches!(refusal, Refusal::Released(_)), "{refusal}");
        }
        assert!(world.leases().await.is_empty(), "round {number}");
        assert!(matches!(world.attach(&container, json!({})).await, Err(Refusal::Released(_))));
    }
}

#[tokio::test]
async fn an_address_that_was_just_freed_is_given_last_by_any_replica() {
    let world = World::new().await;
    let subnets = json!([{"cidr": "10.9.0.0/29", "prefixLength": 29}]);
    let class = json!({"provider": "macvlan", "uplinks": [{"interface": "up0"}], "subnets": subnets});
    world.class("small", class).await;
    world.ready_network("shop/blue", json!({"class": "small"})).await;
    let other = Replica::over(&world.store).await;
    let freed = world.attach("c1", json!({})).await.unwrap();
    world.attach("stays", json!({})).await.unwrap();
    crate::testing::eventually("the other knows both", || other.view.leases.len() == 2).await;
    world.release("c1", "try-c1", &freed.leases).await;
    crate::testing::eventually("the other knows of the release", || other.view.leases.len() == 1).await;
    // The same container would begin its search at the same slot, and one more attempt is one more lease.
    for attempt in 0..4 {
        let reply = other.attach("c1", json!({"attempt": format!("again-{attempt}")})).await.unwrap();
        assert_ne!(reply.addresses, freed.addresses, "{attempt}");
    }
    let last = other.attach("c1", json!({"attempt": "last"})).await.unwrap();
    assert_eq!(last.addresses, freed.addresses);
}

#[tokio::test]
async fn who_was_prepared_before_a_change_takes_nothing_of_what_it_brought() {
    let world = World::new().await;
    let class = json!({"provider": "bridge", "subnets": [
        {"cidr": "10.9.0.0/24", "prefixLength": 29}, {"cidr": "fd00:9::/48", "prefixLength": 64}
    ]});
    world.class("dual", class).await;
    world.ready_network("shop/blue", json!({"class": "dual"})).await;
    let mut count = 0;
    let refusal = loop {
        match world.attach(&format!("c{count}"), json!({})).await {
            Ok(reply) => assert_eq!(reply.addresses.len(), 2),
            Err(refusal) => break refusal,
        }
        count += 1;
    };
    assert_eq!(refusal.kind(), ProblemKind::Full, "{refusal}");
    // A later version has a second subnet, whose slots are offered already.
    world.replica.view.leases.offer(&"shop/blue".parse().unwrap(), &SlotRanges::from(0..300));
    let refusal = world.attach("late", json!({})).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NotReady { .. }), "{refusal}");
    assert_eq!(world.leases().await.len(), count);
}
