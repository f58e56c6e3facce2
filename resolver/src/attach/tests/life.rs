//! From the first PUT to the last DELETE, with what may come in between.

use k8s_openapi::api::core::v1::Node;
use knap_api::NetworkLease;
use knap_protocol::{LedgerEntry, LedgerState, ReconcileRequest};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde_json::json;

use super::class_of_rack_a;
use crate::attach::Refusal;
use crate::store::{ObjectName, Preconditions, Store};
use crate::testing::{World, attach_on, eventually, place};

fn entry(container: &str, attempt: &str, leases: &[String]) -> LedgerEntry {
    LedgerEntry {
        key: place(container).1,
        network: "shop/blue".parse().unwrap(),
        attempt: attempt.parse().unwrap(),
        boot_id: "boot-1".parse().unwrap(),
        state: LedgerState::Attached,
        leases: leases.to_vec(),
    }
}

fn ledger(entries: Vec<LedgerEntry>) -> ReconcileRequest {
    ReconcileRequest { boot_id: "boot-1".parse().unwrap(), entries, unreadable: 0 }
}

#[tokio::test]
async fn an_attempt_is_answered_alike_however_often_it_asks() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let request = json!({"pod": {"namespace": "shop", "name": "web-0", "uid": "u1"}});
    let first = world.attach("c1", request.clone()).await.unwrap();
    let second = world.attach("c1", request).await.unwrap();
    assert_ne!(first.id, second.id, "each decision has its name");
    assert_eq!((first.leases, first.plugins, first.mac), (second.leases, second.plugins, second.mac));
    let leases = world.leases().await;
    let holder = &leases[0].spec.holders[0];
    assert_eq!((holder.node.as_str(), holder.boot_id.as_str()), ("n1", "boot-1"));
    assert_eq!(holder.pod.as_ref().and_then(|pod| pod.uid.as_deref()), Some("u1"));
}

#[tokio::test]
async fn a_new_attempt_never_takes_what_an_old_one_holds() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let old = world.attach("c1", json!({"attempt": "old"})).await.unwrap();
    let new = world.attach("c1", json!({"attempt": "new"})).await.unwrap();
    assert_ne!(old.addresses, new.addresses);
    let (node, _) = place("c1");
    let request = ledger(vec![entry("c1", "new", &new.leases)]);
    let reply = world.replica.attacher.reconcile(&node, &request).await.unwrap();
    let suspects: Vec<_> = reply.suspects.iter().map(|suspect| suspect.lease.clone()).collect();
    assert_eq!(suspects, old.leases, "what the dead attempt left is found");
    assert!(reply.reassert.is_empty());
    world.release("c1", "old", &old.leases).await;
    // A late DELETE of the old attempt that names the new one's lease frees nothing.
    world.release("c1", "old", &new.leases).await;
    assert_eq!(world.leases().await.len(), 1);
}

#[tokio::test]
async fn a_delete_that_names_leases_frees_these_alone() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let reply = world.attach("c1", json!({})).await.unwrap();
    // The same attempt, made a lease again by a replica that did not yet know of the first.
    let mut surplus = world.leases().await.remove(0);
    surplus.metadata = ObjectMeta {
        name: Some("shop.blue-250".to_owned()),
        labels: surplus.metadata.labels,
        ..ObjectMeta::default()
    };
    surplus.spec.slot = 250;
    world.store.create(&surplus).await.unwrap();
    eventually("both are known", || world.replica.view.leases.len() == 2).await;
    world.release("c1", "try-c1", &["shop.blue-250".to_owned()]).await;
    let left: Vec<String> = world.leases().await.iter().map(ResourceExt::name_any).collect();
    assert_eq!(left, reply.leases);
    world.release("c1", "try-c1", &[]).await;
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn another_holders_delete_frees_nothing() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let reply = world.attach("c1", json!({})).await.unwrap();
    world.release("c2", "try-c1", &reply.leases).await;
    world.release("c1", "try-c2", &reply.leases).await;
    world.release("c1", "try-c2", &["no such lease".to_owned()]).await;
    assert_eq!(world.leases().await.len(), 1);
    world.release("c1", "try-c1", &reply.leases).await;
    world.release("c1", "try-c1", &reply.leases).await;
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn reconcile_finds_what_either_side_lacks() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let (node, _) = place("c1");
    let mut leases = Vec::new();
    for container in ["c1", "c2", "c3"] {
        leases.push(world.attach(container, json!({})).await.unwrap().leases);
    }
    // c1 is in both, c2 is not in the ledger, c3's lease is lost, c4 is being added and has no answer yet.
    let lost = ObjectName::cluster(leases[2][0].as_str());
    world.store.delete::<NetworkLease>(&lost, &Preconditions::default()).await.unwrap();
    eventually("the view forgets the lost one", || world.replica.view.leases.len() == 2).await;
    let mut adding = entry("c4", "try-c4", &[]);
    adding.state = LedgerState::Adding;
    let entries = vec![entry("c1", "try-c1", &leases[0]), entry("c3", "try-c3", &leases[2]), adding];
    let reply = world.replica.attacher.reconcile(&node, &ledger(entries)).await.unwrap();
    assert_eq!(reply.suspects.len(), 1);
    assert_eq!((&reply.suspects[0].lease, reply.suspects[0].attempt.as_str()), (&leases[1][0], "try-c2"));
    assert_eq!(reply.reassert, [place("c3").1]);
    assert_eq!(world.leases().await.len(), 2, "nothing is freed");

    let again = world.attach("c3", json!({"leases": leases[2]})).await.unwrap();
    assert_eq!(again.leases, leases[2]);
    let taken = world.attach("c5", json!({"leases": leases[2]})).await.unwrap_err();
    assert_eq!(taken.kind().status(), 409, "{taken}");
    for foreign in ["shop.red-5", "shop.blue-x", "shop.blue-99999999999"] {
        let refusal = world.attach("c6", json!({"leases": [foreign]})).await.unwrap_err();
        assert_eq!(refusal.kind().status(), 409, "{refusal}");
    }
}

#[tokio::test]
async fn a_running_attachment_has_its_lease_again_on_a_node_that_serves_no_more() {
    let world = World::new().await;
    class_of_rack_a(&world).await;
    world.ready_network("shop/blue", json!({"class": "racks"})).await;
    for name in ["n1", "n2"] {
        let node = json!({"metadata": {"name": name, "labels": {"rack": "a"}}});
        world.store.create(&serde_json::from_value::<Node>(node).unwrap()).await.unwrap();
    }
    let running = world.attach("c1", json!({})).await.unwrap();

    let mut node: Node = world.store.get(&ObjectName::cluster("n1")).await.unwrap().unwrap();
    node.metadata.labels = None;
    world.store.update(&node).await.unwrap();
    let unlabelled = || world.replica.view.node("n1").is_some_and(|node| node.labels.is_empty());
    eventually("the replica knows that the node has lost its label", unlabelled).await;
    let lost = ObjectName::cluster(running.leases[0].as_str());
    world.store.delete::<NetworkLease>(&lost, &Preconditions::default()).await.unwrap();
    eventually("the view forgets the lost lease", || world.replica.view.leases.is_empty()).await;

    for _ in 0..2 {
        let refusal = world.attach("c1", json!({"leases": running.leases})).await.unwrap_err();
        assert!(refusal.kind().status() == 422 && refusal.to_string().contains("uplink"), "{refusal}");
        let leases: Vec<String> = world.leases().await.iter().map(ResourceExt::name_any).collect();
        assert_eq!(leases, running.leases, "no other pod gets what runs");
    }
    let same = json!({"runtimeConfig": {"ips": [running.addresses[0].ip()]}});
    let refusal = attach_on(&world.replica.attacher, "n2", "c2", same).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Taken { .. }), "{refusal}");
}

#[tokio::test]
async fn a_removed_network_drains_and_its_name_is_free_for_another() {
    let world = World::new().await;
    let first = world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let reply = world.attach("c1", json!({})).await.unwrap();
    world.remove("shop/blue").await;
    let refusal = world.attach("c2", json!({})).await.unwrap_err();
    assert_eq!(refusal.kind().status(), 404, "{refusal}");

    let second = world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    assert_eq!(second.status.unwrap().subnets[0].cidr, "100.96.1.0/24", "the old subnet is still in use");
    let old_uid = first.metadata.uid.clone();
    let draining = world
        .reservations()
        .await
        .into_iter()
        .filter(|found| Some(&found.spec.network.uid) == old_uid.as_ref());
    assert!(draining.clone().count() == 2 && draining.clone().all(|found| found.status.unwrap().draining));
    // The old lease's name blocks one slot of the new Network, and is nobody else's to take.
    let slot = reply.leases[0].rsplit('-').next().unwrap().to_owned();
    let blocked = world.attach("c3", json!({"runtimeConfig": {"ips": [format!("100.96.1.{slot}")]}})).await;
    assert_eq!(blocked.unwrap_err().kind().status(), 409);
    world.attach("c4", json!({})).await.unwrap();

    world.release("c1", "try-c1", &reply.leases).await;
    world.until_reservations(2).await;
    world.attach("c3", json!({"runtimeConfig": {"ips": [format!("100.96.1.{slot}")]}})).await.unwrap();
}

#[tokio::test]
async fn an_attachment_waits_for_a_network_made_a_moment_ago() {
    let world = World::new().await;
    for round in 0..10 {
        let name = format!("shop/net-{round}");
        world.network(&name, json!({"provider": "bridge"})).await;
        let reply = world.attach(&format!("c{round}"), json!({"network": name})).await;
        assert_eq!(reply.unwrap().addresses.len(), 1);
    }
}
