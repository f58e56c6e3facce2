//! Nodes that reboot, die, are cut off, come back: what they held, on a real API server.

use k8s_openapi::api::core::v1::Node;
use knap_api::{FenceReason, NetworkLease};
use knap_tests::{Answer, Call, Host, KubernetesApi, Objects, Replica, Sandbox, eventually, thin_config};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

/// The boot of a [`Host`] that was not rebooted.
const BOOT: &str = "7a1c6f0e-0000-4000-8000-000000000001";

async fn start_with(arguments: &[&str]) -> (KubernetesApi, Replica, Objects) {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let mut replica = api.replica(arguments);
    replica.start();
    replica.wait_ready().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    let plugins = json!([{"type": "first", "ipam": {"type": "knap"}}]);
    let class = json!({
        "provider": "cni", "parameters": {"plugins": plugins},
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    });
    objects.class("recorded", class).await;
    objects.network("shop/blue", json!({"class": "recorded"})).await;
    objects.ready("shop/blue").await;
    (api, replica, objects)
}

async fn start() -> (KubernetesApi, Replica, Objects) {
    start_with(&[]).await
}

fn of_boot(boot: &str) -> Value {
    json!({"bootID": boot})
}

fn taint() -> Value {
    json!([{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}])
}

/// Containers that hold leases, sorted.
async fn holders(objects: &Objects) -> Vec<String> {
    let leases = objects.leases().await.into_iter();
    let mut holders: Vec<String> =
        leases.flat_map(|lease| lease.spec.holders).map(|holder| holder.container_id).collect();
    holders.sort();
    holders
}

async fn assert_fenced(objects: &Objects, node: &str, reason: FenceReason) {
    let inventory = objects.inventory(node).await.expect("an inventory");
    assert!(inventory.spec.fences.iter().any(|fence| fence.reason == reason), "{inventory:?}");
}

async fn refused(replica: &Replica, node: &str, container: &str, request: Value, words: &[&str]) {
    let reply = replica.attach(node, container, request).await.expect("an answer");
    assert_eq!(reply.status, 409, "{reply:?}");
    for word in words {
        assert!(reply.body.contains(word), "no {word}: {reply:?}");
    }
}

/// The node's whole ledger: nothing.
async fn reconcile_empty(replica: &Replica, node: &str) {
    let path = format!("/v1/nodes/{node}/attachments:reconcile");
    let body = json!({"bootID": "boot-1", "entries": []});
    let reply = replica.ask("POST", &path, Some(body)).await.expect("an answer");
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// The node tells that it holds nothing, as it does again and again, until no fence is left.
async fn until_lifted(replica: &Replica, objects: &Objects, node: &str) {
    let lifted = async || {
        reconcile_empty(replica, node).await;
        objects.inventory(node).await?.spec.fences.is_empty().then_some(())
    };
    objects.eventually("the fence is lifted", lifted).await;
}

#[tokio::test]
async fn a_reboot_frees_what_the_old_boot_held() {
    let (api, replica, objects) = start().await;
    let old = replica.attached("n1", "c1", json!({})).await;
    replica.attached("n1", "c2", json!({})).await;
    replica.attached("n2", "c3", json!({})).await;
    assert_eq!(objects.inventory("n1").await.unwrap().metadata.generation, Some(1), "written once");
    replica.attached("n1", "c4", of_boot("boot-2")).await;
    objects.until_leases(2).await;
    assert_eq!(holders(&objects).await, ["c3", "c4"]);
    refused(&replica, "n1", "c5", json!({}), &["boot-1", "boot-2", "n1"]).await;
    assert_eq!(holders(&objects).await, ["c3", "c4"], "nothing is left of it");
    assert_eq!(replica.release("n1", "c1", &old.leases).await.unwrap().status, 204);
    let settled = async || objects.inventory("n1").await?.spec.fences.is_empty().then_some(());
    objects.eventually("the fence of the dead boot is lifted", settled).await;

    let inventory = json!({
        "bootID": "boot-2", "agentVersion": "1.2.3", "underlayAddress": "192.0.2.1", "delegates": [{"type": "first"}],
        "interfaces": [{"name": "ens1f0", "mtu": 9000, "up": true}],
        "problems": [{"reason": "ForeignPlugin", "message": "another program is installed as knap: remove it"}]
    });
    let put = replica.ask("PUT", "/v1/nodes/n1/inventory", Some(inventory.clone())).await.unwrap();
    assert_eq!(put.status, 204, "{put:?}");
    let version = objects.inventory("n1").await.unwrap().resource_version();
    let put = replica.ask("PUT", "/v1/nodes/n1/inventory", Some(inventory)).await.unwrap();
    assert_eq!(put.status, 204, "{put:?}");
    assert_eq!(objects.inventory("n1").await.unwrap().resource_version(), version, "nothing new");
    let printed = api.kubectl_ok("get nwi", "");
    let rows: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "READY", "REASON", "FENCED", "AGENT", "AGE"], "{printed}");
    assert_eq!(rows[1][..3], ["n1", "False", "ForeignPlugin"], "{printed}");
}

#[tokio::test]
async fn a_node_out_of_service_is_fenced_until_it_is_back() {
    let (_api, replica, objects) = start().await;
    replica.attached("n1", "c1", json!({})).await;
    replica.attached("n2", "c2", json!({})).await;
    objects.taint_node("n1", taint()).await;
    objects.until_leases(1).await;
    assert_eq!(holders(&objects).await, ["c2"]);
    assert_fenced(&objects, "n1", FenceReason::OutOfService).await;
    refused(&replica, "n1", "c3", json!({}), &["n1", "out-of-service"]).await;
    reconcile_empty(&replica, "n1").await;
    assert_fenced(&objects, "n1", FenceReason::OutOfService).await;
    objects.taint_node("n1", json!([])).await;
    until_lifted(&replica, &objects, "n1").await;
    replica.attached("n1", "c3", json!({})).await;
}

#[tokio::test]
async fn an_administrator_quarantines_a_node_with_kubectl() {
    let (api, first, objects) = start().await;
    let second = api.start_replica().await;
    first.attached("n1", "c1", json!({})).await;
    api.kubectl_ok("annotate nwi n1 knap.github.com/quarantine=smoke", "");
    objects.until_leases(0).await;
    assert!(api.kubectl_ok("get nwi n1", "").contains("Quarantined"));
    for replica in [&first, &second] {
        refused(replica, "n1", "c2", json!({}), &["Quarantined", "knap.github.com/quarantine"]).await;
    }
    api.kubectl_ok("annotate nwi n1 knap.github.com/quarantine-", "");
    until_lifted(&second, &objects, "n1").await;
    for (replica, container) in [(&first, "c2"), (&second, "c3")] {
        replica.attached("n1", container, json!({})).await;
    }
}

#[tokio::test]
async fn a_node_that_stays_deleted_is_fenced_where_that_is_wanted() {
    let (_api, replica, objects) = start_with(&["--gone-node-after=2s"]).await;
    replica.attached("n1", "c1", json!({})).await;
    replica.attached("n2", "c2", json!({})).await;
    let nodes = Api::<Node>::all(objects.client.clone());
    nodes.delete("n1", &DeleteParams::default()).await.unwrap();
    objects.until_leases(1).await;
    assert_eq!(holders(&objects).await, ["c2"]);
    assert_fenced(&objects, "n1", FenceReason::NodeGone).await;
    // It registers again, which makes it another Node, with tokens of its own.
    objects.node("n1").await.unwrap();
    replica.forget_node_token("n1");
    refused(&replica, "n1", "c3", json!({}), &["n1", "its Node is gone"]).await;
    until_lifted(&replica, &objects, "n1").await;
    replica.attached("n1", "c3", json!({})).await;
}

#[tokio::test]
async fn what_a_leader_does_not_live_to_free_its_successor_does() {
    let (api, mut replica, objects) = start().await;
    for container in ["c1", "c2", "c3"] {
        replica.attached("n1", container, json!({})).await;
    }
    replica.stop().await;
    let mut dying = api.replica(&[]).with("KNAP_FAULT_POINT", "node-fenced");
    dying.start();
    dying.wait_ready().await;
    api.kubectl_ok("annotate nwi n1 knap.github.com/quarantine=smoke", "");
    assert!(!dying.wait_end().await.success());
    assert_fenced(&objects, "n1", FenceReason::Quarantined).await;
    assert_eq!(objects.leases().await.len(), 3, "it had freed nothing");
    replica.start();
    replica.wait_ready().await;
    objects.until_leases(0).await;
}

/// A machine whose plugin asks this replica.
async fn host(replica: &Replica) -> Host {
    let host = Host::in_cluster(&replica.access("n1").await);
    host.delegates.install("first");
    host
}

/// A pod's sandbox, attached, and its address. The pod is made where it is not there.
async fn added(objects: &Objects, host: &Host, container: &str) -> (Sandbox, String) {
    let uid = objects.pod(&format!("shop/{container}"), "n1").await.uid().expect("a UID");
    let pod = host.pod(container);
    let call = Call::add(container, &pod, &thin_config("shop/blue", "1.0.0")).pod("shop", container, &uid);
    let address = call.run(host).addresses().remove(0);
    (pod, address.split('/').next().unwrap().to_owned())
}

/// Reaps until nothing is reported: a resolver has two seconds for each release, and a busy one may be late for it. Every
/// answer, the clean one last.
fn reaped(host: &Host) -> Vec<Answer> {
    let mut answers = Vec::new();
    eventually("reap has nothing to report", || {
        answers.push(host.reap());
        (answers.last()?.status == Some(0)).then_some(())
    });
    answers
}

/// The lease of a container.
async fn lease_of(objects: &Objects, container: &str) -> Option<NetworkLease> {
    let held =
        |lease: &NetworkLease| lease.spec.holders.iter().any(|holder| holder.container_id == container);
    objects.leases().await.into_iter().find(held)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_is_found_within_a_minute_and_freed_only_when_confirmed() {
    let (_api, replica, objects) = start().await;
    let host = host(&replica).await;
    let (killed, _) = added(&objects, &host, "c1").await;
    let (_lives, _) = added(&objects, &host, "c2").await;
    // A lease of a sandbox of which this node knows nothing: its ADD was never written down, or its ledger lost.
    replica.attached("n1", "ghost", of_boot(BOOT)).await;
    assert_eq!(objects.leases().await.len(), 3);
    // The runtime was killed with the pod: nobody calls DEL, and what finds it is the reap that comes every 45 s at the latest.
    killed.remove();
    let answers = reaped(&host);
    // Where it was late, the release that was not waited for may be the one that did it.
    let released = answers.iter().any(|answer| answer.stdout.contains("\"suspectsReleased\":1"));
    assert!(released || answers.len() > 1, "{answers:?}");
    let left = async || {
        let left = holders(&objects).await == ["c2"];
        left.then_some(()).or_else(|| {
            reaped(&host);
            None
        })
    };
    objects.eventually("what lives keeps its lease, and nothing else", left).await;
    reaped(&host);
    assert_eq!(holders(&objects).await, ["c2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_deleted_by_hand_comes_back_to_who_runs_with_it() {
    let (_api, replica, objects) = start().await;
    let host = host(&replica).await;
    let (pod, address) = added(&objects, &host, "c1").await;
    let before = lease_of(&objects, "c1").await.unwrap();
    let leases = Api::<NetworkLease>::all(objects.client.clone());
    leases.delete(&before.name_any(), &DeleteParams::default()).await.unwrap();
    let asserted = async || {
        reaped(&host);
        lease_of(&objects, "c1").await
    };
    let after = objects.eventually("it is asserted again", asserted).await;
    assert_eq!((after.name_any(), &after.spec), (before.name_any(), &before.spec));
    assert!(after.spec.addresses[0].starts_with(&address));
    Call::del("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).quiet();
    objects.until_released_by(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_of_etcd_what_runs_is_asserted_and_a_conflict_reported() {
    let (mut api, mut replica, objects) = start().await;
    let host = host(&replica).await;
    let (_before, _) = added(&objects, &host, "c0").await;
    // The API knows them from before.
    for pod in ["shop/c1", "shop/c2"] {
        objects.pod(pod, "n1").await;
    }
    let copy = api.backup().await;
    replica.wait_ready().await;
    let (_one, _) = added(&objects, &host, "c1").await;
    let (two, address) = added(&objects, &host, "c2").await;
    let of_c1 = lease_of(&objects, "c1").await.unwrap();
    // As Kubernetes' manual has it, what caches the API is started anew.
    replica.stop().await;
    api.restore(&copy).await;
    replica.start();
    replica.wait_ready().await;
    assert_eq!(holders(&objects).await, ["c0"], "an older state");
    // Before the node can say what it runs, somebody else gets one of its addresses.
    replica.attached("n2", "c9", json!({"runtimeConfig": {"ips": [address]}})).await;

    let answer = host.reap();
    assert_ne!(answer.status, Some(0), "{answer:?}");
    for word in ["c2/net1", "taken", "node n2", address.as_str(), "\"reasserted\":1"] {
        assert!(answer.stdout.contains(word), "no {word}: {answer:?}");
    }
    assert_eq!(holders(&objects).await, ["c0", "c1", "c9"]);
    let asserted = lease_of(&objects, "c1").await.unwrap();
    assert_eq!((asserted.name_any(), asserted.spec), (of_c1.name_any(), of_c1.spec));
    assert_eq!(host.ledger.state("c2", "net1").as_deref(), Some("attached"), "it runs on");
    // Its pod is ended: what the other got is not touched.
    Call::del("c2", &two, &thin_config("shop/blue", "1.0.0")).run(&host).quiet();
    reaped(&host);
    assert_eq!(holders(&objects).await, ["c0", "c1", "c9"]);
}
