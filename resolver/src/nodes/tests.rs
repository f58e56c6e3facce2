//! Dead boots, over the embedded store: what they held is freed, what lives is not.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use knap_api::{Fence, FenceReason, Holder, NetworkLease, NodeInventory, QUARANTINE_ANNOTATION};
use knap_protocol::{AttachRequest, LedgerEntry, LedgerState, ReconcileReply, ReconcileRequest};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{Rules, put_inventory};
use crate::attach::{Asker, Refusal};
use crate::decision::DecisionId;
use crate::store::{ObjectName, Preconditions, Store};
use crate::testing::{Troubled, World, eventually, place};
use crate::view::View;

async fn world() -> World {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    world
}

fn of_boot(boot: &str) -> Value {
    json!({"bootID": boot})
}

fn name() -> ObjectName {
    ObjectName::cluster("n1")
}

fn is_fenced(inventory: &NodeInventory, reason: FenceReason) -> bool {
    inventory.spec.fences.iter().any(|fence| fence.reason == reason)
}

impl World {
    /// An attachment on another node than n1.
    async fn attach_on(&self, node: &str, container: &str) {
        let (_, key) = place(container);
        let request: AttachRequest = serde_json::from_value(json!({
            "network": "shop/blue", "bootID": "boot-1", "attempt": format!("try-{container}"), "deadlineSeconds": 20,
            "cniVersion": "1.0.0"
        }))
        .unwrap();
        let node = node.parse().unwrap();
        let asker = Asker { node: &node, key: &key };
        self.replica.attacher.attach(&DecisionId::next(), asker, &request).await.unwrap();
    }

    async fn reconcile(&self, boot: &str, entries: &[(&str, LedgerState, &[String])]) -> ReconcileReply {
        self.reconcile_beside(boot, entries, 0).await
    }

    /// With so many entries that can't be read.
    async fn reconcile_beside(
        &self,
        boot: &str,
        entries: &[(&str, LedgerState, &[String])],
        unreadable: usize,
    ) -> ReconcileReply {
        let (node, _) = place("c1");
        let entries = entries.iter().map(|(container, state, leases)| LedgerEntry {
            key: place(container).1,
            network: "shop/blue".parse().unwrap(),
            attempt: format!("try-{container}").parse().unwrap(),
            boot_id: boot.parse().unwrap(),
            state: *state,
            leases: leases.to_vec(),
        });
        let request =
            ReconcileRequest { boot_id: boot.parse().unwrap(), entries: entries.collect(), unreadable };
        self.replica.attacher.reconcile(&node, &request).await.unwrap()
    }

    /// The node tells what it holds, again and again as it does, until no fence is left.
    async fn until_lifted(&self, entries: &[(&str, LedgerState, &[String])]) {
        for _ in 0..2000 {
            self.reconcile("boot-1", entries).await;
            if self.inventory().await.spec.fences.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("fences are left: {:?}", self.inventory().await.spec.fences);
    }

    /// Makes the Node n1, with the taint or without.
    async fn node(&self, tainted: bool) {
        let taint = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
        let taints = if tainted { taint } else { json!([]) };
        let node: Node =
            serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}})).unwrap();
        match self.store.get::<Node>(&name()).await.unwrap() {
            None => drop(self.store.create(&node).await.unwrap()),
            Some(found) => {
                let changed = Node { metadata: found.metadata, ..node };
                self.store.update(&changed).await.unwrap();
            }
        }
    }

    async fn remove_node(&self) {
        self.store.delete::<Node>(&name(), &Preconditions::default()).await.unwrap();
    }

    async fn quarantine(&self, reason: Option<&str>) {
        self.edit_inventory(|inventory| {
            let annotations = inventory.annotations_mut();
            annotations.remove(QUARANTINE_ANNOTATION);
            annotations.extend(reason.map(|reason| (QUARANTINE_ANNOTATION.to_owned(), reason.to_owned())));
        })
        .await;
    }

    async fn holders(&self) -> Vec<String> {
        let holders = self.leases().await.into_iter().flat_map(|lease| lease.spec.holders);
        let mut holders: Vec<String> = holders.map(|holder| holder.container_id).collect();
        holders.sort();
        holders
    }
}

#[tokio::test]
async fn a_reboot_frees_what_the_old_boot_held_and_nothing_else() {
    let world = world().await;
    // With a MAC of its own, which takes a Reservation.
    let wish = json!({"runtimeConfig": {"mac": "02:00:00:00:00:09"}});
    world.attach("c1", wish.clone()).await.unwrap();
    world.attach("c2", json!({})).await.unwrap();
    world.attach_on("n2", "elsewhere").await;
    let reserved = world.reservations().await.len();
    world.attach("c3", of_boot("boot-2")).await.unwrap();
    world.until_leases(2).await;
    assert_eq!(world.holders().await, ["c3", "elsewhere"]);
    assert_eq!(world.reservations().await.len(), reserved - 1, "the MAC address is free as well");
    let settled = world.until_recorded("settled", |inventory| inventory.spec.fences.is_empty()).await;
    assert_eq!(settled.spec.superseded_boot_ids, ["boot-1"]);
    let refusal = world.attach("c4", json!({})).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Superseded { .. }), "{refusal}");
}

/// A lease as a replica makes it that hangs after that.
async fn late_lease(world: &World) -> NetworkLease {
    let mut lease = world.leases().await.remove(0);
    lease.metadata = kube::api::ObjectMeta {
        name: Some("shop.blue-200".to_owned()),
        labels: lease.metadata.labels,
        ..kube::api::ObjectMeta::default()
    };
    lease.spec.slot = 200;
    lease.spec.holders[0].attempt = "late".to_owned();
    lease.spec.holders[0].container_id = "late".to_owned();
    lease
}

#[tokio::test]
async fn a_lease_that_turns_up_late_is_freed_too() {
    let world = world().await;
    world.attach("c1", json!({})).await.unwrap();
    let late = late_lease(&world).await;
    world.attach("c2", of_boot("boot-2")).await.unwrap();
    world.until_leases(1).await;
    world.until_recorded("settled", |inventory| inventory.spec.fences.is_empty()).await;
    world.store.create(&late).await.unwrap();
    world.until_leases(1).await;
    assert_eq!(world.holders().await, ["c2"]);
}

#[tokio::test]
async fn of_two_holders_only_the_dead_one_goes() {
    let mut world = world().await;
    world.stop_controller().await;
    world.attach("c1", json!({})).await.unwrap();
    let mut lease = world.leases().await.remove(0);
    let migrated =
        Holder { node: "n2".to_owned(), attempt: "new".to_owned(), ..lease.spec.holders[0].clone() };
    lease.spec.holders.push(migrated);
    world.store.update(&lease).await.unwrap();
    world.attach("c2", of_boot("boot-2")).await.unwrap();
    let (view, _tasks) = View::follow(&world.store);
    let _nodes = world.look_after_nodes(&view, Rules::default());
    for _ in 0..2000 {
        let left = world.leases().await.into_iter().find(|left| left.name_any() == lease.name_any()).unwrap();
        if let [holder] = left.spec.holders.as_slice() {
            assert_eq!((holder.node.as_str(), holder.attempt.as_str()), ("n2", "new"));
            assert_eq!(left.labels().len(), lease.labels().len() - 1, "the holder's label went with it");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the dead holder stays");
}

#[tokio::test]
async fn a_node_out_of_service_is_fenced_until_it_is_back_and_empty() {
    let world = world().await;
    world.node(false).await;
    let held = world.attach("c1", json!({})).await.unwrap().leases;
    world.node(true).await;
    world.until_leases(0).await;
    let fenced = world.inventory().await;
    assert!(is_fenced(&fenced, FenceReason::OutOfService), "{fenced:?}");
    let refusal = world.attach("c2", json!({})).await.unwrap_err();
    assert!(refusal.to_string().contains("out-of-service"), "{refusal}");

    // It was not as dead as was thought: what it still runs goes.
    let reply = world.reconcile("boot-1", &[("c1", LedgerState::Attached, &held)]).await;
    assert_eq!((reply.tear_down, reply.reassert.len()), (vec![place("c1").1], 0));
    world.reconcile("boot-1", &[]).await;
    assert!(is_fenced(&world.inventory().await, FenceReason::OutOfService), "the taint is still there");
    world.node(false).await;
    world.reconcile("boot-1", &[("c1", LedgerState::Attached, &held)]).await;
    assert!(is_fenced(&world.inventory().await, FenceReason::OutOfService), "something still runs");
    world.attach("c2", json!({})).await.unwrap_err();
    let releasing = [("c1", LedgerState::Releasing, &held[..])];
    world.reconcile_beside("boot-1", &releasing, 1).await;
    assert!(is_fenced(&world.inventory().await, FenceReason::OutOfService), "what can't be read may run");
    let reply = world.reconcile("boot-1", &releasing).await;
    assert!(reply.tear_down.is_empty(), "it is torn down: only the release waits");
    world.until_lifted(&releasing).await;
    world.attach("c2", json!({})).await.unwrap();
}

#[tokio::test]
async fn quarantine_fences_one_node_and_its_end_lifts_it() {
    let world = world().await;
    world.attach("c1", json!({})).await.unwrap();
    world.attach_on("n2", "elsewhere").await;
    world.quarantine(Some("disk failing")).await;
    world.until_leases(1).await;
    assert_eq!(world.holders().await, ["elsewhere"]);
    assert!(is_fenced(&world.inventory().await, FenceReason::Quarantined));
    world.quarantine(Some("false")).await;
    world.until_lifted(&[]).await;
    world.attach("c2", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_node_that_stays_deleted_is_fenced_where_that_is_asked_for() {
    let mut world = world().await;
    world.node(false).await;
    world.attach("c1", json!({})).await.unwrap();
    world.remove_node().await;
    world.stop_controller().await;
    let view = Arc::clone(&world.replica.view);
    eventually("the Node is gone", || view.nodes.is_empty()).await;

    let never = world.look_after_nodes(&view, Rules::default());
    world.quarantine(Some("false")).await;
    world.known(|inventory| inventory.annotations().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.leases().await.len(), 1, "by default never");
    drop(never);

    let after = Some(Duration::from_millis(50));
    let _soon = world.look_after_nodes(&view, Rules { gone_node_after: after, ..Rules::default() });
    world.until_leases(0).await;
    assert!(is_fenced(&world.inventory().await, FenceReason::NodeGone));
    world.reconcile("boot-1", &[]).await;
    assert!(is_fenced(&world.inventory().await, FenceReason::NodeGone), "it is still gone");
    world.node(false).await;
    world.until_lifted(&[]).await;
    world.attach("c2", json!({})).await.unwrap();
}

#[tokio::test]
async fn what_a_leader_left_half_done_its_successor_does() {
    let mut world = world().await;
    world.stop_controller().await;
    for container in ["c1", "c2", "c3"] {
        world.attach(container, json!({})).await.unwrap();
    }
    // It had fenced the boot and freed one lease.
    world
        .edit_inventory(|inventory| {
            let (boot_id, since) = ("boot-1".to_owned(), "2026-01-01T00:00:00Z".to_owned());
            inventory.spec.fences = vec![Fence { boot_id, reason: FenceReason::OutOfService, since }];
        })
        .await;
    world.release("c1", "try-c1", &[]).await;
    let (view, _tasks) = View::follow(&world.store);
    let _one = world.look_after_nodes(&view, Rules::default());
    let _frozen_before = world.look_after_nodes(&world.replica.view, Rules::default());
    world.until_leases(0).await;
}

#[tokio::test]
async fn a_leader_without_news_frees_nothing_of_a_boot_whose_fence_was_lifted() {
    let mut world = world().await;
    world.stop_controller().await;
    world.attach("c1", json!({})).await.unwrap();
    world.quarantine(Some("fire")).await;
    world
        .edit_inventory(|inventory| {
            let (boot_id, since) = ("boot-1".to_owned(), "2026-01-01T00:00:00Z".to_owned());
            inventory.spec.fences = vec![Fence { boot_id, reason: FenceReason::Quarantined, since }];
        })
        .await;
    let (stale, _tasks) = View::follow(&Troubled::held_back(&world.store));
    stale.current().await;
    world
        .edit_inventory(|inventory| {
            inventory.spec.fences.clear();
            inventory.annotations_mut().clear();
        })
        .await;
    let _nodes = world.look_after_nodes(&stale, Rules::default());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.leases().await.len(), 1);
    assert!(world.inventory().await.spec.fences.is_empty());
}

#[tokio::test]
async fn the_record_of_a_node_goes_when_nothing_needs_it() {
    let mut world = world().await;
    world.stop_controller().await;
    let reply = world.attach("c1", json!({})).await.unwrap();
    let view = Arc::clone(&world.replica.view);
    let _nodes = world.look_after_nodes(&view, Rules { keep: Duration::ZERO, ..Rules::default() });
    world.quarantine(Some("false")).await;
    world.known(|inventory| inventory.annotations().len() == 1).await;
    // Nodes are known now, and this is none of them.
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "n2"}})).unwrap();
    world.store.create(&node).await.unwrap();
    eventually("a Node is known", || !view.nodes.is_empty()).await;
    world.quarantine(None).await;
    world.known(|inventory| inventory.annotations().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.inventory().await;
    world.release("c1", "try-c1", &reply.leases).await;
    eventually("its record is removed", || view.inventories.is_empty()).await;
}

#[tokio::test]
async fn a_network_says_how_many_nodes_serve_it() {
    let world = World::new().await;
    for (node, interface) in [("n1", "up0"), ("n2", "eth0"), ("n3", "")] {
        let object: Node = serde_json::from_value(json!({"metadata": {"name": node}})).unwrap();
        world.store.create(&object).await.unwrap();
        let found = json!({
            "bootID": "boot-1", "agentVersion": "1", "delegates": [{"type": "macvlan"}],
            "interfaces": [{"name": interface, "mtu": 1500, "up": true}]
        });
        if let Ok(found) = serde_json::from_value(found) {
            put_inventory(&world.store, &world.replica.view, &node.parse().unwrap(), &found).await.unwrap();
        }
    }
    let view = &world.replica.view;
    eventually("all are known", || view.nodes.len() == 3 && view.inventories.len() == 2).await;
    let class = json!({
        "provider": "macvlan", "uplinks": [{"interface": "up0"}],
        "subnets": [{"cidr": "10.9.0.0/16", "prefixLength": 24}]
    });
    world.class("fab", class).await;
    let counted = |network: knap_api::Network| {
        let nodes = network.status.unwrap().nodes.unwrap();
        (nodes.eligible, nodes.total)
    };
    assert_eq!(counted(world.ready_network("shop/blue", json!({"class": "fab"})).await), (1, 3));
    let dhcp = json!({"class": "fab", "ipam": "DHCP"});
    assert_eq!(counted(world.ready_network("shop/dhcp", dhcp).await), (0, 3), "no dhcp plugin anywhere");
    world.attach("c1", json!({})).await.unwrap();
    world.quarantine(Some("smoke")).await;
    world.known(|inventory| is_fenced(inventory, FenceReason::Quarantined)).await;
    let again = world.ready_network("shop/red", json!({"class": "fab"})).await;
    assert_eq!(counted(again), (0, 3), "nothing is attached to a fenced node");
}
