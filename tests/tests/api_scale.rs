//! Many Networks and leases: a replica that starts among them changes nothing, lists nothing, and serves one more.

use std::collections::BTreeSet;

use knap_tests::{Finished, KubernetesApi};
use serde_json::json;

const NETWORKS: usize = 300;
const LEASES_EACH: usize = 10;
const MORE: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_more_costs_no_look_at_all_of_them() {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    api.install_multus_crd().await;
    api.load_finished(Finished { networks: NETWORKS, leases_each: LEASES_EACH }).await;
    let objects = api.objects().await;
    let before = api.counters().await;
    let replica = api.start_replica().await;
    let mut new = Vec::new();
    for number in 0..MORE {
        let name = format!("shop/more-{number}");
        objects.network(&name, json!({"class": "many"})).await;
        new.push(objects.ready(&name).await.status.unwrap());
    }
    let taken = objects.reservations().await.into_iter().filter_map(|found| found.spec.cidr);
    let taken: BTreeSet<String> = taken.collect();
    assert_eq!(taken.len(), NETWORKS + 1 + MORE, "one each, the model's and the new ones' too");
    assert!(new.iter().all(|new| taken.contains(&new.subnets[0].cidr)));

    // What was finished is left as it was: written are the new ones' finalizers and status, once more where the projections were
    // still being read, and perhaps counts of the model.
    let counted = api.counters().await.since(&before);
    assert_eq!(counted.done("POST", "reservations"), 2 * MORE as u64, "{counted:?}");
    let written = counted.done("PUT", "networks");
    assert!(written <= 3 * MORE as u64 + 2, "{written} writes of Networks: {counted:?}");
    assert_eq!(counted.count("APPLY", "network-attachment-definitions"), MORE as u64, "{counted:?}");
    assert_eq!(counted.count("GET", "network-attachment-definitions"), 0, "{counted:?}");
    // The pages of the watch's beginning, and this test's own list; none for a new subnet, unless the watch is late for one or two.
    let pages = (2 * (NETWORKS + 1)).div_ceil(500) as u64;
    assert!(counted.count("LIST", "reservations") <= 3 * pages + 1, "{counted:?}");

    let reply = replica.attached("n1", "new", json!({"network": "shop/net-7"})).await;
    let slot: usize = reply.leases[0].rsplit_once('-').unwrap().1.parse().unwrap();
    assert!(!(2..2 + LEASES_EACH).contains(&slot), "{reply:?}");
    let metrics = replica.ask("GET", "/metrics", None).await.unwrap().body;
    let of_seven = r#"knap_network_attachments{namespace="shop",network="net-7",class="many"}"#;
    for line in
        [format!("knap_leases {}", NETWORKS * LEASES_EACH + 1), format!("{of_seven} {}", LEASES_EACH + 1)]
    {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    assert_eq!(replica.release("n1", "new", &reply.leases).await.unwrap().status, 204);
    assert_eq!(objects.leases().await.len(), NETWORKS * LEASES_EACH);
}
