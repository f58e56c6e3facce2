//! Attachments while the API server is slow, refuses, answers half or not at all, is killed, forgets; and while somebody deletes
//! what is Knap's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use knap_api::{NetworkLease, Reservation};
use knap_protocol::{AttachReply, Problem};
use knap_tests::{Behind, Fate, KubernetesApi};
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

fn lease_names(leases: &[NetworkLease]) -> Vec<&str> {
    leases.iter().filter_map(|lease| lease.metadata.name.as_deref()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_answer_is_lost_is_repeated_and_made_once() {
    let behind = Behind::start("answer-lost").await;
    for (number, fate) in
        [Fate::AnswerLost, Fate::AnswerHalf, Fate::Lost, Fate::Refused(500)].into_iter().enumerate()
    {
        behind.proxy.once("create networkleases", fate.clone());
        let reply = behind.attached(&format!("c{number}"), json!({})).await;
        let leases = behind.leases().await;
        assert_eq!(leases.len(), number + 1, "{fate:?}");
        assert!(lease_names(&leases).contains(&reply.leases[0].as_str()));
    }
    let metrics = behind.replica.ask("GET", "/metrics", None).await.unwrap().body;
    assert!(metrics.contains("knap_attach_repeats_total 4"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_fails_is_repeated_before_anything_is_answered() {
    let behind = Behind::start("look-fails").await;
    for (number, fate) in [Fate::AnswerHalf, Fate::Lost, Fate::Refused(429)].into_iter().enumerate() {
        behind.proxy.once("get reservations", fate);
        behind.attached(&format!("c{number}"), json!({})).await;
    }
    // One that fails for as long as anybody waits: what was made is withdrawn, and the caller told why.
    behind.proxy.on("get reservations", Fate::Refused(503));
    let problem = behind.refused("c9", json!({"deadlineSeconds": 3})).await;
    // On a slow machine the withdrawal takes longer than is left: then its release is due, as for any plugin.
    let named = problem.detail.contains("reservations can't be read");
    assert!(problem.status == 503 && (named || problem.unsettled), "{problem:?}");
    if problem.unsettled {
        behind.release(&behind.replica, "c9", &[]).await;
    }
    assert_eq!(behind.leases().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_api_server_makes_attachments_slow_and_not_wrong() {
    let behind = Behind::start("slow").await;
    behind.proxy.on("* *", Fate::Late(Duration::from_millis(400)));
    let attach = |number: usize| {
        let behind = &behind;
        async move { behind.attached(&format!("c{number}"), json!({})).await }
    };
    let replies = join_all((0..16).map(attach)).await;
    let addresses: BTreeSet<_> = replies.iter().flat_map(|reply| &reply.addresses).collect();
    assert_eq!(addresses.len(), 16);
    // Slower than anybody waits: said in time, and as something that may still come to be.
    behind.proxy.on("create networkleases", Fate::Late(Duration::from_secs(60)));
    let begin = Instant::now();
    let problem = behind.refused("c16", json!({"deadlineSeconds": 1})).await;
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert!(problem.status == 503 && problem.unsettled && problem.detail.contains("deadline"), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_refuses_is_named_and_leaves_nothing() {
    let behind = Behind::start("refusing").await;
    behind.proxy.on("create networkleases", Fate::Refused(403));
    let problem = behind.refused("c1", json!({})).await;
    assert!(problem.detail.contains("refused by the test") && !problem.unsettled, "{problem:?}");
    behind.proxy.on("* *", Fate::Refused(503));
    // Until its watches have told it of pod and boot, it reads these first, and nothing is open.
    let open = async || {
        let problem = behind.refused("c1", json!({"deadlineSeconds": 1})).await;
        assert_eq!(problem.status, 503, "{problem:?}");
        problem.unsettled.then_some(())
    };
    behind.objects.eventually("its create is refused, and open", open).await;
    assert!(behind.leases().await.is_empty());
    behind.proxy.heal();
    behind.attached("c1", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_that_commits_after_everybody_gave_up_goes_with_the_release_sent_again() {
    let behind = Behind::start("late-commit").await;
    behind.proxy.on("create networkleases", Fate::Held);
    let problem = behind.refused("c1", json!({"deadlineSeconds": 5})).await;
    assert!(problem.unsettled, "the plugin has to know: {problem:?}");
    assert!(behind.proxy.seen("create networkleases") > 0, "it is under way");
    // The plugin's release overtakes the create, on this replica and on another.
    behind.release(&behind.replica, "c1", &[]).await;
    behind.release(&behind.cluster.leader, "c1", &[]).await;
    assert!(behind.leases().await.is_empty());
    behind.proxy.heal();
    let committed = async || (behind.leases().await.len() == 1).then_some(());
    behind.objects.eventually("the create commits late", committed).await;
    // Sent again after the deadline of its PUT: here through a replica that never heard of the attempt.
    let mut third = behind.cluster.api.replica(&[]);
    third.start();
    third.wait_ready().await;
    behind.release(&third, "c1", &[]).await;
    assert!(behind.leases().await.is_empty());
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_that_overtakes_its_put_on_the_same_replica_wins() {
    let behind = Behind::start("overtaken").await;
    behind.proxy.on("create networkleases", Fate::Held);
    let put = behind.refused("c1", json!({}));
    let overtake = async {
        let arrived = async || (behind.proxy.seen("create networkleases") > 0).then_some(());
        behind.objects.eventually("the create is under way", arrived).await;
        behind.release(&behind.replica, "c1", &[]).await;
        behind.proxy.heal();
    };
    let (problem, ()) = tokio::join!(put, overtake);
    assert!(problem.status == 409 && problem.detail.contains("released already"), "{problem:?}");
    assert!(behind.leases().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_ready_when_it_knows_everything_and_not_before() {
    let behind = Behind::start("half-known").await;
    let lease = behind.attached("c1", json!({})).await;
    let proxy = behind.cluster.api.proxy().await;
    proxy.on("list networkleases", Fate::Held);
    let mut replica = behind.cluster.api.replica(&[&proxy.flag()]);
    replica.start();
    let waits =
        async || (proxy.seen("list networkleases") > 0 && replica.readyz().await.is_err()).then_some(());
    behind.objects.eventually("it reads leases", waits).await;
    let told = async || {
        replica.readyz().await.err().filter(|reason| reason.contains("still reading all networkleases"))
    };
    behind.objects.eventually("it says what it still reads", told).await;
    let refused = replica.attach("n1", "half-known-c2", behind.of_network(json!({}))).await.unwrap();
    assert!(refused.status == 503 && refused.body.contains("networkleases"), "{refused:?}");
    // Half of the list is no list; the one that is held ends so too.
    let before = proxy.seen("list networkleases");
    proxy.on("list networkleases", Fate::AnswerHalf);
    let again = async || (proxy.seen("list networkleases") > before).then_some(());
    behind.objects.eventually("it lists again", again).await;
    assert!(replica.readyz().await.is_err());
    proxy.on("list networkleases", Fate::Forward);
    replica.wait_ready().await;
    let again = replica.attached("n1", "half-known-c1", behind.of_network(json!({}))).await;
    assert_eq!(again.leases, lease.leases);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_by_hand_is_told_or_made_again() {
    let behind = Behind::start("by-hand").await;
    let lease = behind.attached("c1", json!({})).await;
    let leases = Api::<NetworkLease>::all(behind.objects.client.clone());
    leases.delete(&lease.leases[0], &DeleteParams::default()).await.unwrap();
    // The node, which holds it, is told to assert it again, and gets the very same.
    let ledger = json!({"bootID": "boot-1", "entries": [{
        "containerID": behind.container("c1"), "ifname": "net1", "network": behind.network, "bootID": "boot-1",
        "attempt": format!("try-{}", behind.container("c1")), "state": "attached", "leases": lease.leases,
    }]});
    let told = async || {
        let reply =
            behind.replica.ask("POST", "/v1/nodes/n1/attachments:reconcile", Some(ledger.clone())).await?;
        assert_eq!(reply.status, 200, "{reply:?}");
        (reply.json::<Value>()["reassert"].as_array()?.len() == 1).then_some(())
    };
    behind.objects.eventually("the node is told", told).await;
    let again = behind.attached("c1", json!({"leases": lease.leases})).await;
    assert_eq!(again.addresses, lease.addresses);

    // Reservations: the same are there again, and what ran on them runs on.
    let reservations = Api::<Reservation>::all(behind.objects.client.clone());
    let mine = async || {
        let mut all = behind.objects.reservations().await;
        all.retain(|found| behind.network.starts_with(&format!("{}/", found.spec.network.namespace)));
        all
    };
    let before = mine().await;
    for found in &before {
        reservations.delete(found.metadata.name.as_ref().unwrap(), &DeleteParams::default()).await.unwrap();
    }
    let there_again = async || {
        let now = mine().await;
        let names = |all: &[Reservation]| {
            all.iter().map(|found| found.metadata.name.clone()).collect::<BTreeSet<_>>()
        };
        let verified = |found: &Reservation| found.status.as_ref().is_some_and(|status| status.verified);
        let all_verified = now.iter().filter(|found| found.spec.cidr.is_some()).all(verified);
        (names(&now) == names(&before) && all_verified).then_some(())
    };
    behind.objects.eventually("they are reserved again", there_again).await;
    behind.objects.ready(&behind.network).await;
    behind.attached("c2", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_outlives_the_api_server_and_a_watch_that_was_forgotten() {
    let mut api = KubernetesApi::start().await;
    api.install_crds().await;
    let leader = api.start_replica().await;
    let proxy = api.proxy().await;
    let mut behind = api.replica(&[&proxy.flag()]);
    behind.start();
    behind.wait_ready().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.ready("shop/blue").await;
    behind.attached("n1", "first", json!({})).await;

    // One replica hears nothing for a while.
    proxy.on("watch *", Fate::Held);
    let leader = Arc::new(leader);
    let burst = (0..64).map(|number| {
        let leader = Arc::clone(&leader);
        tokio::spawn(async move {
            let container = format!("c{number}");
            // As the runtime does: until it succeeds, each time with what the plugin does after a failure.
            let begin = Instant::now();
            let mut failures = Vec::new();
            loop {
                let attempt = format!("try-{}-{container}", failures.len());
                let reply =
                    leader.attach("n1", &container, json!({"attempt": attempt})).await.expect("an answer");
                if reply.status == 200 {
                    return (reply.json::<AttachReply>(), failures);
                }
                assert!(begin.elapsed() < knap_tests::GENEROUS, "{failures:?}");
                failures.push(reply.json::<Problem>().detail);
                let path = format!("/v1/nodes/n1/attachments/{container}/net1?attempt={attempt}");
                while leader.ask("DELETE", &path, None).await.is_none_or(|reply| reply.status != 204) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        })
    });
    let burst: Vec<_> = burst.collect();
    let some = async || (objects.leases().await.len() > 8).then_some(());
    objects.eventually("the burst is under way", some).await;
    api.kill_server();
    api.restart_server().await;
    let mut addresses = BTreeSet::new();
    let mut failed = 0;
    for attached in join_all(burst).await {
        let (reply, failures) = attached.unwrap();
        failed += failures.len();
        assert!(failures.iter().all(|failure| !failure.is_empty()), "{failures:?}");
        addresses.extend(reply.addresses);
    }
    println!("{failed} attempts failed, and said why");
    assert_eq!(addresses.len(), 64, "no address twice");

    // Meanwhile history has been forgotten: who heard nothing begins anew, and knows it all.
    api.kill_server();
    api.compact();
    api.restart_server().await;
    proxy.heal();
    objects.network("shop/late", json!({"provider": "bridge"})).await;
    let known = async || {
        let reply = behind.ask("GET", "/v1/networks/shop/late", None).await?;
        (reply.status == 200 && reply.json::<Value>()["ready"] == true).then_some(())
    };
    objects.eventually("it has caught up", known).await;
    // History was forgotten.
    behind.wait_logged("too old resource version").await;
    // Each kind comes by a watch of its own.
    let held = format!("knap_leases {}\n", objects.leases().await.len());
    let counted = async || behind.ask("GET", "/metrics", None).await?.body.contains(&held).then_some(());
    objects.eventually("it knows all leases", counted).await;
}
