//! 10,000 Networks and 100,000 leases, loaded in finished form: start to ready, memory, and one Network made among them, also
//! while there is something to write about each.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use knap_tests::{Attached, Caller, Finished, KubernetesApi, Objects};
use serde::Serialize;
use serde_json::json;

use crate::number;

#[derive(Debug, Serialize)]
pub(crate) struct Scale {
    networks: usize,
    leases: usize,
    /// Seconds to write them, as fast as the API server takes them.
    load: f64,
    /// Seconds from a replica's start until it is ready.
    start: f64,
    /// Megabytes, right after that and after all Networks were looked at.
    memory: (f64, f64),
    /// Seconds from the creation of one more Network until it is Ready, the first and the next.
    one_more: (f64, f64),
    /// The same while a Node that has joined is being counted in the status of each, and seconds until that is done.
    amid_upkeep: (f64, f64),
    /// Milliseconds of an attachment and of its release among them, without a name of its lease.
    attach: f64,
    release: f64,
    blind_release: f64,
}

pub(crate) async fn measure() -> Scale {
    let (networks, leases) = (number("KNAP_BENCH_NETWORKS", 10_000), number("KNAP_BENCH_LEASES", 100_000));
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    api.install_multus_crd().await;
    let objects = api.objects().await;
    let begin = Instant::now();
    api.load_finished(Finished { networks, leases_each: leases / networks }).await;
    let load = begin.elapsed().as_secs_f64();
    println!("{networks} Networks and {leases} leases, written in {load:.0} s");

    let begin = Instant::now();
    let replica = api.start_replicas_with(1, &["--log=warn"]).await.pop().expect("one");
    let start = begin.elapsed().as_secs_f64();
    let at_first = replica.resident_megabytes();
    let mut one_more = [0.0; 2];
    for (number, took) in one_more.iter_mut().enumerate() {
        let name = format!("shop/one-more-{number}");
        let begin = Instant::now();
        objects.network(&name, json!({ "provider": "bridge" })).await;
        objects.ready(&name).await;
        *took = begin.elapsed().as_secs_f64();
    }
    let amid_upkeep = amid_upkeep(&objects, networks).await;
    let caller = Caller::on(&replica, "n1", &[replica.endpoint()], "shop/among").await;
    let milliseconds = |begin: Instant| begin.elapsed().as_secs_f64() * 1000.0;
    let (mut attach, mut release, mut blind_release) = (Vec::new(), Vec::new(), Vec::new());
    tokio::task::block_in_place(|| {
        for turn in 0..11 {
            for blind in [false, true] {
                let name = format!("among-{turn}-{blind}");
                let mut attached = Attached::new("shop/one-more-0", &name, &name);
                let begin = Instant::now();
                caller.attach(&mut attached).expect("an attachment");
                attach.push(milliseconds(begin));
                if blind {
                    attached.leases.clear();
                }
                let begin = Instant::now();
                caller.release(&attached).expect("a release");
                if blind { &mut blind_release } else { &mut release }.push(milliseconds(begin));
            }
        }
    });
    let scale = Scale {
        networks,
        leases,
        load,
        start,
        memory: (at_first, replica.resident_megabytes()),
        one_more: one_more.into(),
        amid_upkeep,
        attach: crate::median(attach),
        release: crate::median(release),
        blind_release: crate::median(blind_release),
    };
    println!(
        "  ready {start:.1} s after its start, {:.0} MB, later {:.0} MB",
        scale.memory.0, scale.memory.1
    );
    println!(
        "  one more Network Ready after {:.2} s, another after {:.2} s",
        scale.one_more.0, scale.one_more.1
    );
    println!(
        "  {:.2} s while the status of each is written anew, which takes {:.0} s",
        scale.amid_upkeep.0, scale.amid_upkeep.1
    );
    println!(
        "  attach {:.1} ms, release {:.1} ms, release without a lease's name {:.1} ms",
        scale.attach, scale.release, scale.blind_release
    );
    scale
}

/// A Network that is made while all statuses are being written.
async fn amid_upkeep(objects: &Objects, networks: usize) -> (f64, f64) {
    let joined = objects.all::<Node>().await.len() + 1;
    objects.labelled_node("joined", json!({})).await;
    let written = async |name: String| {
        let nodes = objects.get_network(&name).await?.status?.nodes?;
        (nodes.total as usize == joined).then_some(())
    };
    objects.eventually("the first status is written", async || written("shop/net-0".to_owned()).await).await;
    let begin = Instant::now();
    objects.network("shop/amid", json!({ "provider": "bridge" })).await;
    objects.ready("shop/amid").await;
    let took = begin.elapsed().as_secs_f64();
    // That may take longer than a test would wait.
    while written(format!("shop/net-{}", networks - 1)).await.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (took, begin.elapsed().as_secs_f64())
}
