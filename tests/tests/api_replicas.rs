//! Many replicas over one API: what one knows and the other does not, what an attachment costs, and one that goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use ipnetwork::IpNetwork;
use knap_protocol::AttachReply;
use knap_tests::{Attached, Behind, Caller, Cluster, Fate, KubernetesApi, Objects, condition};
use serde_json::{Value, json};

/// Units of six addresses each, on an uplink of the test's own.
fn tiny(uplink: &str, cidr: &str) -> Value {
    json!({
        "provider": "macvlan", "uplinks": [{"interface": uplink}], "allowRequestedSubnets": true,
        "subnets": [{"cidr": cidr, "prefixLength": 29}]
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_race_for_the_last_address_one_gets_it() {
    let cluster = Cluster::shared().await;
    cluster.api.objects().await.class("last", tiny("up1", "10.40.0.0/24")).await;
    let behind = Behind::start_with("last", json!({"class": "last"})).await;
    let replicas = [&behind.cluster.leader, &behind.replica];
    for number in 0..5 {
        behind.attached_by(replicas[number % 2], &format!("c{number}"), json!({})).await;
    }
    for round in 0..5 {
        let race = (0..6).map(|number| {
            let (behind, replica) = (&behind, replicas[number % 2]);
            async move {
                let container = behind.container(&format!("r{round}-{number}"));
                let reply = replica.attach("n1", &container, behind.of_network(json!({}))).await;
                (number, reply.expect("an answer"))
            }
        });
        let (won, lost): (Vec<_>, Vec<_>) =
            join_all(race).await.into_iter().partition(|(_, reply)| reply.status == 200);
        assert_eq!(won.len(), 1, "{won:?}");
        assert!(lost.iter().all(|(_, reply)| reply.status == 507), "{lost:?}");
        assert_eq!(behind.leases().await.len(), 6);
        let (number, reply) = &won[0];
        let leases = reply.json::<AttachReply>().leases;
        behind.release(replicas[(number + 1) % 2], &format!("r{round}-{number}"), &leases).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_unequal_subnets_of_two_classes_one_is_served() {
    let cluster = Cluster::shared().await;
    let objects = cluster.api.objects().await;
    objects.namespace("unequal", &[]).await;
    let class = |cidr: &str, length: u8| {
        json!({
            "provider": "macvlan", "uplinks": [{"interface": "up3"}], "fabric": "unequal",
            "allowRequestedSubnets": true, "subnets": [{"cidr": cidr, "prefixLength": length}]
        })
    };
    objects.class("unequal-small", class("10.48.0.0/16", 24)).await;
    objects.class("unequal-large", class("10.48.0.0/12", 20)).await;
    let pairs =
        (0..4).map(|number| (format!("unequal/s{number}"), format!("unequal/l{number}"), number * 16));
    let pairs: Vec<_> = pairs.collect();
    let make = pairs.iter().map(|(small, large, third)| {
        let objects = &objects;
        async move {
            let one = json!({"class": "unequal-small", "subnets": [format!("10.48.{third}.0/24")]});
            let other = json!({"class": "unequal-large", "subnets": [format!("10.48.{third}.0/20")]});
            tokio::join!(objects.network(small, one), objects.network(large, other));
        }
    });
    join_all(make).await;
    for (small, large, _) in &pairs {
        // Until the controller has heard of the class, a Network waits for that.
        let decided = async || {
            let (one, other) = (objects.get_network(small).await?, objects.get_network(large).await?);
            let (one, other) = (condition(&one, "Ready")?, condition(&other, "Ready")?);
            let (winner, ready, refused) =
                if one["status"] == "True" { (small, one, other) } else { (large, other, one) };
            (ready["status"] == "True" && refused["reason"] == "Conflict").then_some((winner, refused))
        };
        let (winner, refused) = objects.eventually("one is Ready, and one in conflict", decided).await;
        let message = refused["message"].to_string();
        assert!(message.contains(winner.as_str()), "it names who has it: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hears_nothing_gives_nothing_away_twice() {
    let cluster = Cluster::shared().await;
    cluster.api.objects().await.class("deaf", tiny("up2", "10.41.0.0/24")).await;
    let behind = Behind::start_with("deaf", json!({"class": "deaf"})).await;
    let (hears, deaf) = (&behind.cluster.leader, &behind.replica);
    behind.objects.network("deaf/moved", json!({"class": "deaf", "subnets": ["10.41.0.128/29"]})).await;
    behind.objects.ready("deaf/moved").await;
    let known = async || {
        let reply = deaf.ask("GET", "/v1/networks/deaf/moved", None).await?;
        (reply.status == 200 && reply.json::<Value>()["ready"] == true).then_some(())
    };
    behind.objects.eventually("both know it", known).await;
    behind.proxy.on("watch *", Fate::Held);

    // What the other has made meanwhile is found taken.
    let mut addresses = BTreeSet::new();
    let mut made = Vec::new();
    for number in 0..4 {
        made.push(behind.attached_by(hears, &format!("c{number}"), json!({})).await);
    }
    for number in 4..6 {
        made.push(behind.attached(&format!("c{number}"), json!({})).await);
    }
    addresses.extend(made.iter().flat_map(|reply| reply.addresses.clone()));
    assert_eq!(addresses.len(), 6);
    let full = behind.refused("c6", json!({})).await;
    assert!(full.status == 507 && full.detail.contains("deaf/blue"), "{full:?}");

    // What the other has freed is not believed to be taken before "full" is said.
    behind.release(hears, "c0", &made[0].leases).await;
    let again = behind.attached("c6", json!({})).await;
    assert_eq!(again.addresses, made[0].addresses);
    // What the other made is freed all the same, by name and without.
    behind.release(deaf, "c1", &made[1].leases).await;
    behind.release(deaf, "c2", &[]).await;
    assert_eq!(behind.leases().await.len(), 4);

    // A Network whose subnet has changed is not served from the old one.
    behind.objects.edit_network("deaf/moved", json!({"subnets": ["10.41.0.136/29"]})).await;
    let moved = async || {
        let status = behind.objects.get_network("deaf/moved").await?.status?;
        (status.subnets[0].cidr == "10.41.0.136/29").then_some(())
    };
    behind.objects.eventually("it has moved", moved).await;
    let freed = async || {
        let all = behind.objects.reservations().await;
        all.iter().all(|found| found.spec.cidr.as_deref() != Some("10.41.0.128/29")).then_some(())
    };
    behind.objects.eventually("what it had is free", freed).await;
    let request = json!({"network": "deaf/moved"});
    let closed = deaf.attach("n1", "deaf-m1", request.clone()).await.unwrap();
    assert!(closed.status == 503 && closed.body.contains("reservation"), "{closed:?}");

    // One that was deleted is not served from what its attachments keep.
    behind.objects.delete_network("deaf/blue").await;
    behind.objects.gone("deaf/blue").await;
    let draining = behind.refused("c7", json!({})).await;
    assert!(draining.status == 503 && draining.detail.contains("being given up"), "{draining:?}");
    assert_eq!(behind.leases().await.len(), 4, "nothing was left of what was refused");

    behind.proxy.heal();
    let served = async || {
        let reply = deaf.attach("n1", "deaf-m1", request.clone()).await?;
        let now: IpNetwork = "10.41.0.136/29".parse().unwrap();
        let served = reply.status == 200 && now.contains(reply.json::<AttachReply>().addresses[0].ip());
        served.then_some(())
    };
    behind.objects.eventually("it has heard", served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attachment_is_one_write_whoever_serves_and_none_fails_as_replicas_are_stopped_in_turn() {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let mut replicas: Vec<_> = (0..3).map(|_| api.replica(&["--drain=10"])).collect();
    for replica in &mut replicas {
        replica.start();
        replica.wait_ready().await;
    }
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.ready("shop/blue").await;
    for replica in &replicas {
        let reply = replica.attached("n1", "warm", json!({})).await;
        assert_eq!(replica.release("n1", "warm", &reply.leases).await.unwrap().status, 204);
    }
    only_one_write_each(&api, &replicas).await;
    stop_in_turn(&objects, replicas).await;
    assert!(objects.leases().await.is_empty());
}

/// By the API server's own count.
async fn only_one_write_each(api: &KubernetesApi, replicas: &[knap_tests::Replica]) {
    const COUNT: usize = 60;
    let before = api.counters().await;
    let attach = (0..COUNT).map(|number| {
        let replica = &replicas[number % 3];
        async move { replica.attached("n1", &format!("w{number}"), json!({})).await.leases }
    });
    let made = join_all(attach).await;
    let after = api.counters().await;
    let attached = after.since(&before);
    let count = COUNT as u64;
    assert_eq!(attached.done("POST", "networkleases"), count, "{attached:?}");
    for verb in ["PUT", "PATCH", "APPLY", "DELETE", "LIST"] {
        assert_eq!(attached.count(verb, "networkleases"), 0, "{verb}: {attached:?}");
    }
    // Slots that another replica had taken first: nothing was written, and whose they are was looked at.
    let collisions = attached.count("POST", "networkleases") - count;
    assert_eq!(attached.count("GET", "networkleases"), collisions, "{attached:?}");
    // The look that follows is shared: at most one for each, as a rule fewer.
    let looks = attached.count("GET", "reservations");
    assert!((1..=count).contains(&looks), "{attached:?}");
    for verb in ["POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(attached.count(verb, "reservations"), 0, "{verb}: {attached:?}");
    }

    let release = made.iter().enumerate().map(|(number, leases)| {
        // Through another than the one that made it, as soon as its watch has told it.
        let replica = &replicas[(number + 1) % 3];
        async move { replica.release("n1", &format!("w{number}"), leases).await.unwrap().status }
    });
    assert!(join_all(release).await.iter().all(|status| *status == 204));
    let released = api.counters().await.since(&after);
    assert_eq!(released.done("DELETE", "networkleases"), count, "{released:?}");
    for verb in ["POST", "PUT", "PATCH", "APPLY", "LIST"] {
        assert_eq!(released.count(verb, "networkleases"), 0, "{verb}: {released:?}");
    }
    println!(
        "{COUNT} attachments: {collisions} collisions, {looks} looks; {} releases were read first",
        released.count("GET", "networkleases")
    );
}

/// Under load, each replica is stopped and started again; whoever asks knows who is ready, with a delay.
async fn stop_in_turn(objects: &Objects, mut replicas: Vec<knap_tests::Replica>) {
    let ready = Arc::new(std::sync::RwLock::new(Vec::<String>::new()));
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    *ready.write().unwrap() = replicas.iter().map(knap_tests::Replica::endpoint).collect();
    // One endpoint each: nothing is repeated elsewhere.
    let mut callers = BTreeMap::new();
    for replica in &replicas {
        let endpoint = replica.endpoint();
        let caller = Caller::on(replica, "n1", std::slice::from_ref(&endpoint), "shop/pod-1").await;
        callers.insert(endpoint, caller);
    }
    let callers = Arc::new(callers);
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let (callers, ready, stop, served) =
                (Arc::clone(&callers), Arc::clone(&ready), Arc::clone(&stop), Arc::clone(&served));
            std::thread::spawn(move || {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let endpoints = ready.read().unwrap().clone();
                    let caller = &callers[&endpoints[(number + turn) % endpoints.len()]];
                    let name = format!("t{number}-{turn}");
                    let mut attached = Attached::new("shop/blue", &name, &name);
                    caller.attach(&mut attached).unwrap_or_else(|error| panic!("{name}: {error}"));
                    caller.release(&attached).unwrap_or_else(|error| panic!("{name}: {error}"));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for replica in &mut replicas {
        let before = served.load(Ordering::Relaxed);
        replica.terminate();
        let says_so = async || replica.readyz().await.err();
        let reason = objects.eventually("it is not ready any more", says_so).await;
        assert!(reason.contains("ending"), "it says so while it still serves: {reason}");
        // Those who route learn of it within a second.
        tokio::time::sleep(Duration::from_millis(800)).await;
        let gone = replica.endpoint();
        ready.write().unwrap().retain(|endpoint| *endpoint != gone);
        assert!(replica.wait_end().await.success());
        replica.start();
        replica.wait_ready().await;
        ready.write().unwrap().push(gone);
        assert!(served.load(Ordering::Relaxed) > before, "it is under load");
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no attachment failed");
    }
    println!("{} attachments while replicas were stopped in turn", served.load(Ordering::Relaxed));
}
