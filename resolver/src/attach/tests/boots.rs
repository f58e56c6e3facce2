//! Which boot of a node may attach.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use knap_api::{Fence, FenceReason, NodeInventory, QUARANTINE_ANNOTATION};
use knap_protocol::{ProblemKind, ReconcileRequest};
use serde_json::{Value, json};

use crate::attach::Refusal;
use crate::nodes::put_inventory;
use crate::store::{ObjectName, Preconditions, Store};
use crate::testing::{Fate, Replica, Troubled, World, eventually, place};

const BRIDGE: &str = r#"{"provider": "bridge"}"#;

async fn world() -> World {
    let world = World::new().await;
    world.ready_network("shop/blue", serde_json::from_str(BRIDGE).unwrap()).await;
    world
}

fn of_boot(boot: &str) -> Value {
    json!({"bootID": boot})
}

async fn assert_superseded<S: Store>(replica: &Replica<S>, container: &str, boot: &str) {
    let refusal = replica.attach(container, of_boot(boot)).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Superseded { .. }), "{refusal}");
    let (problem, text) = (refusal.kind().problem("id", ""), refusal.to_string());
    assert_eq!((problem.status, problem.cni_code.0, problem.retryable), (409, 7, false));
    assert!(text.contains(boot) && text.contains("n1") && text.contains("Reboot"), "{text}");
}

#[tokio::test]
async fn the_first_attachment_of_a_boot_records_it_and_no_other_writes() {
    let world = world().await;
    world.attach("c1", json!({})).await.unwrap();
    let first = world.inventory().await;
    assert_eq!((first.spec.boot_id.as_str(), first.spec.fences.len()), ("boot-1", 0));
    world.attach("c2", json!({})).await.unwrap();
    assert_eq!(world.inventory().await, first);
}

#[tokio::test]
async fn a_new_boot_ends_the_one_before() {
    let mut world = world().await;
    world.stop_controller().await;
    let old = world.attach("c1", json!({})).await.unwrap();
    world.attach("c2", of_boot("boot-2")).await.unwrap();
    let spec = world.inventory().await.spec;
    assert_eq!(
        (spec.boot_id.as_str(), spec.superseded_boot_ids.as_slice()),
        ("boot-2", &["boot-1".to_owned()][..])
    );
    assert_eq!((spec.fences[0].boot_id.as_str(), spec.fences[0].reason), ("boot-1", FenceReason::Rebooted));

    assert_superseded(&world.replica, "c3", "boot-1").await;
    // All else still works for it.
    let (node, _) = place("c1");
    let request = ReconcileRequest { boot_id: "boot-1".parse().unwrap(), entries: Vec::new(), unreadable: 0 };
    world.replica.attacher.reconcile(&node, &request).await.unwrap();
    world.release("c1", "try-c1", &old.leases).await;
    assert_eq!(world.leases().await.len(), 1);
}

#[tokio::test]
async fn a_replica_without_news_answers_no_lease_for_a_dead_boot() {
    let mut world = world().await;
    world.stop_controller().await;
    world.attach("c1", json!({})).await.unwrap();
    world.known(|inventory| inventory.spec.boot_id == "boot-1").await;
    let stale = Replica::over(&Troubled::held_back(&world.store)).await;
    stale.attach("c2", json!({})).await.unwrap();
    world.attach("c3", of_boot("boot-2")).await.unwrap();
    assert_superseded(&stale, "c4", "boot-1").await;
    assert_eq!(world.leases().await.len(), 3, "nothing of it is left");
    stale.attach("c5", of_boot("boot-2")).await.unwrap();
    assert_eq!(world.inventory().await.spec.superseded_boot_ids, ["boot-1"], "recorded once");

    world
        .edit_inventory(|inventory| {
            let (boot_id, since) = ("boot-2".to_owned(), "2026-01-01T00:00:00Z".to_owned());
            inventory.spec.fences.push(Fence { boot_id, reason: FenceReason::Quarantined, since });
        })
        .await;
    let refusal = stale.attach("c6", of_boot("boot-2")).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Fenced { .. }) && refusal.kind() == ProblemKind::Fenced, "{refusal}");
    for word in ["n1", "boot-2", QUARANTINE_ANNOTATION, "knap reap"] {
        assert!(refusal.to_string().contains(word), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attachments_of_a_new_boot_on_two_replicas_record_it_once() {
    let mut world = world().await;
    world.stop_controller().await;
    world.attach("old", json!({})).await.unwrap();
    let other = Replica::over(&world.store).await;
    let attaches = (0..60).map(|number| {
        let (world, other) = (&world, &other);
        async move {
            let (container, request) = (format!("c{number}"), of_boot("boot-2"));
            match number % 2 {
                0 => world.attach(&container, request).await,
                _ => other.attach(&container, request).await,
            }
        }
    });
    for reply in join_all(attaches).await {
        reply.unwrap();
    }
    let spec = world.inventory().await.spec;
    assert_eq!(spec.superseded_boot_ids, ["boot-1"]);
    assert_eq!(world.leases().await.len(), 61);
}

#[tokio::test]
async fn an_inventory_that_was_deleted_is_made_anew() {
    let world = world().await;
    world.attach("c1", json!({})).await.unwrap();
    world.known(|_| true).await;
    let stale = Replica::over(&Troubled::held_back(&world.store)).await;
    world.store.delete::<NodeInventory>(&ObjectName::cluster("n1"), &Preconditions::default()).await.unwrap();
    let refusal = stale.attach("c2", json!({})).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unrecorded { .. }), "{refusal}");
    assert_eq!((refusal.kind().status(), world.leases().await.len()), (503, 1));
    eventually("the other replica sees it", || world.replica.view.inventories.is_empty()).await;
    world.attach("c3", json!({})).await.unwrap();
    stale.attach("c4", json!({})).await.unwrap();
}

fn found(boot: &str, more: &Value) -> knap_protocol::Inventory {
    let mut whole = json!({
        "bootID": boot, "agentVersion": "1.2.3", "underlayAddress": "192.0.2.1",
        "interfaces": [{"name": "ens1f0", "mtu": 1500, "up": true, "sriov": {"totalVfs": 8, "vfs": 2}}],
        "delegates": [{"type": "bridge", "cniVersions": ["1.0.0"]}]
    });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

#[tokio::test]
async fn an_inventory_is_written_when_it_says_something_new() {
    let mut world = world().await;
    world.stop_controller().await;
    let (node, _) = place("c1");
    let put = async |inventory: &knap_protocol::Inventory| {
        put_inventory(&world.store, &world.replica.view, &node, inventory).await.unwrap();
        world.inventory().await
    };
    let first = put(&found("boot-1", &json!({}))).await;
    assert_eq!((first.spec.boot_id.as_str(), first.spec.agent_version.as_deref()), ("boot-1", Some("1.2.3")));
    assert_eq!(
        (first.spec.interfaces[0].name.as_str(), first.spec.delegates[0].kind.as_str()),
        ("ens1f0", "bridge")
    );
    let ready = |inventory: &NodeInventory| inventory.status.clone().unwrap().conditions.remove(0);
    assert_eq!((ready(&first).kind.as_str(), ready(&first).reason.as_str()), ("Ready", "Ready"));
    assert_eq!(put(&found("boot-1", &json!({}))).await, first, "nothing new, nothing written");

    let problems = json!({"problems": [{"reason": "ForeignPlugin", "message": "remove it"}]});
    let troubled = put(&found("boot-1", &problems)).await;
    assert_eq!(
        (ready(&troubled).reason.as_str(), ready(&troubled).message.as_str()),
        ("ForeignPlugin", "remove it")
    );
    assert_eq!(troubled.metadata.generation, first.metadata.generation);

    world.attach("c1", json!({})).await.unwrap();
    assert_eq!(world.inventory().await.spec, troubled.spec, "the boot was recorded");
    let rebooted = put(&found("boot-2", &json!({"delegates": []}))).await;
    assert_eq!(
        (rebooted.spec.superseded_boot_ids.as_slice(), rebooted.spec.delegates.len()),
        (&["boot-1".to_owned()][..], 0)
    );
    assert_eq!(put(&found("boot-1", &json!({}))).await, rebooted, "what an old boot found is left out");
    assert_superseded(&world.replica, "c2", "boot-1").await;
}

#[tokio::test]
async fn a_boot_that_is_fenced_from_its_first_moment_gets_nothing() {
    let mut world = world().await;
    world.stop_controller().await;
    world.attach("c1", json!({})).await.unwrap();
    world
        .edit_inventory(|inventory| {
            inventory.metadata.annotations =
                Some([(QUARANTINE_ANNOTATION.to_owned(), "smoke".to_owned())].into());
        })
        .await;
    let refusal = world.attach("c2", of_boot("boot-2")).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Fenced { .. }), "{refusal}");
    assert_eq!(world.inventory().await.spec.fences.len(), 2);
}

#[tokio::test]
async fn a_boot_is_recorded_by_a_store_that_answers_again() {
    let world = world().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let store = Troubled::new(&world.store, move |call| {
        let away =
            call.verb == "get" && call.kind == "nodeinventories" && count.fetch_add(1, Ordering::SeqCst) < 3;
        std::future::ready(if away { Fate::Lost } else { Fate::Served })
    });
    Replica::over(&store).await.attach("c1", json!({})).await.unwrap();
    assert!(asked.load(Ordering::SeqCst) > 3);
    assert_eq!(world.inventory().await.spec.boot_id, "boot-1");
}
