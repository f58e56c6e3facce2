//! The resolver in a cluster: its start, its Networks, its end.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use knap_tests::{KubernetesApi, Objects, Replica};
use serde_json::json;

async fn start() -> KubernetesApi {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    api
}

#[tokio::test]
async fn missing_kinds_are_named_and_then_served_by_themselves() {
    let api = KubernetesApi::start().await;
    let mut replica = api.replica(&[]);
    replica.start();
    let reason = loop {
        match replica.readyz().await {
            Err(reason) if reason.contains("CRDs") => break reason,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(()) => panic!("ready without kinds"),
        }
    };
    assert!(reason.contains("networks.knap.github.com") && reason.contains("kubectl apply"), "{reason}");
    assert_eq!(replica.ask("GET", "/healthz", None).await.unwrap().status, 200);
    let refused = replica.attach("n1", "c1", json!({})).await.unwrap();
    assert!(refused.status == 503 && refused.body.contains("CRDs"), "{refused:?}");
    replica.wait_logged("apply Knap's CRDs").await;

    api.install_crds().await;
    replica.wait_ready().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.ready("shop/blue").await;
    replica.attached("n1", "c1", json!({})).await;
    replica.stop().await;
}

#[tokio::test]
async fn networks_are_served_from_the_api() {
    let api = start().await;
    let replica = api.start_replica().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    let blue = objects.ready("shop/blue").await.status.unwrap();
    objects.network("shop/red", json!({"provider": "bridge"})).await;
    objects.ready("shop/red").await;
    assert_eq!(blue.class.as_deref(), Some("built-in-bridge"));
    assert_eq!((blue.subnets[0].cidr.as_str(), blue.subnets[0].capacity), ("100.96.0.0/24", 253));

    let reply = replica.attached("n1", "c1", json!({})).await;
    assert_eq!(objects.leases().await.len(), 1);
    let again = replica.attached("n1", "c1", json!({})).await;
    assert_eq!((reply.leases.clone(), reply.addresses), (again.leases, again.addresses));
    assert_eq!(replica.release("n1", "c1", &reply.leases).await.unwrap().status, 204);
    assert!(objects.leases().await.is_empty());
}

#[tokio::test]
async fn a_conflict_is_named_and_ends_with_the_other() {
    let api = start().await;
    let _replica = api.start_replica().await;
    let objects = api.objects().await;
    for namespace in ["shop", "bank"] {
        objects.namespace(namespace, &[]).await;
    }
    let class = |cidr: &str, length: u8| {
        json!({
            "provider": "macvlan", "fabric": "dc-a", "uplinks": [{"interface": "up0"}], "allowRequestedSubnets": true,
            "subnets": [{"cidr": cidr, "prefixLength": length}]
        })
    };
    objects.class("small", class("10.64.0.0/16", 24)).await;
    objects.class("large", class("10.64.0.0/12", 20)).await;
    objects.network("shop/blue", json!({"class": "small", "subnets": ["10.64.7.0/24"]})).await;
    objects.ready("shop/blue").await;
    objects.network("bank/red", json!({"class": "large", "subnets": ["10.64.0.0/20"]})).await;
    let red = objects.network_with("bank/red", "Ready", "False", "Conflict").await;
    let message = knap_tests::condition(&red, "Ready").unwrap()["message"].to_string();
    for word in ["10.64.0.0/20", "10.64.7.0/24", "shop/blue"] {
        assert!(message.contains(word), "{message}");
    }
    objects.delete_network("shop/blue").await;
    objects.ready("bank/red").await;
}

#[tokio::test]
async fn a_replica_that_ends_says_so_first_and_answers_on() {
    let api = start().await;
    let mut replica = api.replica(&["--drain=10"]);
    replica.start();
    replica.wait_ready().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.ready("shop/blue").await;
    replica.attached("n1", "c1", json!({})).await;

    replica.terminate();
    let reason = loop {
        match replica.readyz().await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(reason) => break reason,
        }
    };
    assert!(reason.contains("ending"), "{reason}");
    replica.attached("n1", "c2", json!({})).await;
    let status = replica.wait_end().await;
    assert!(status.success(), "{status}");
}

/// Who leads, by the Lease.
async fn leader(objects: &Objects) -> Option<String> {
    let lease = objects.in_namespace::<Lease>("default").get_opt("knap-resolver").await.unwrap();
    lease?.spec?.holder_identity.filter(|holder| !holder.is_empty())
}

/// Takes the replica that leads out of them, by its log.
async fn take(replicas: &mut Vec<Replica>, objects: &Objects, leader: &str) -> Replica {
    let says_so = |replica: &Replica| replica.log().contains(&format!("identity=\"{leader}\""));
    let position = async || replicas.iter().position(says_so);
    let position = objects.eventually("a replica says that it leads", position).await;
    replicas.remove(position)
}

/// Waits until another leads than `before`, and returns who.
async fn next_leader(objects: &Objects, before: Option<&str>) -> String {
    let other = async || leader(objects).await.filter(|leader| Some(leader.as_str()) != before);
    objects.eventually("another leader", other).await
}

#[tokio::test]
async fn the_controllers_move_on_when_their_replica_stops_dies_or_hangs() {
    let api = start().await;
    let mut replicas = api.start_replicas(3).await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    let mut made = 0;
    let mut serves = async || {
        made += 1;
        objects.network(&format!("shop/net-{made}"), json!({"provider": "bridge"})).await;
        objects.ready(&format!("shop/net-{made}")).await;
    };
    let mut first = next_leader(&objects, None).await;
    serves().await;

    // Nobody has to wait until the Lease runs out, unless the API server is too slow to take it back: hardly three times.
    let mut tries = 0..3;
    let second = loop {
        let mut stopped = take(&mut replicas, &objects, &first).await;
        stopped.stop().await;
        let next = next_leader(&objects, Some(&first)).await;
        serves().await;
        if stopped.log().contains("gave back the leader's Lease") {
            break next;
        }
        assert!(tries.next().is_some(), "{}", stopped.log());
        stopped.start();
        stopped.wait_ready().await;
        replicas.push(stopped);
        first = next;
    };

    let mut killed = take(&mut replicas, &objects, &second).await;
    killed.kill().await;
    let third = next_leader(&objects, Some(&second)).await;
    serves().await;

    killed.start();
    killed.wait_ready().await;
    let frozen = take(&mut replicas, &objects, &third).await;
    frozen.freeze();
    next_leader(&objects, Some(&third)).await;
    serves().await;
    frozen.thaw();
    frozen.wait_logged("no longer leading").await;
    serves().await;
    // Every replica serves, whoever leads.
    for (number, replica) in [&frozen, &killed].into_iter().enumerate() {
        replica.attached("n1", &format!("c{number}"), json!({"network": "shop/net-1"})).await;
    }
}
