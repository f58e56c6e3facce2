//! 128 pods with 16 Networks each, all at once.

use std::time::Instant;

use knap_tests::{Attached, Caller, KubernetesApi};
use serde::Serialize;
use serde_json::json;

use crate::rates::on_threads;
use crate::raw;

const PODS: usize = 128;
const NETWORKS: usize = 16;

#[derive(Debug, Serialize)]
pub(crate) struct Burst {
    attachments: usize,
    /// Seconds for as many raw creations, by as many clients.
    raw: f64,
    /// Through three replicas.
    attach: f64,
    /// And all back.
    release: f64,
}

pub(crate) async fn measure(api: &KubernetesApi) -> Burst {
    let replicas = api.start_replicas_with(3, &["--log=warn"]).await;
    let objects = api.objects().await;
    let subnets = json!([{ "cidr": "10.128.0.0/16", "prefixLength": 24 }]);
    objects.class("burst", json!({ "provider": "bridge", "subnets": subnets })).await;
    for number in 0..NETWORKS {
        objects.network(&format!("shop/net-{number}"), json!({ "class": "burst" })).await;
    }
    for number in 0..NETWORKS {
        objects.ready(&format!("shop/net-{number}")).await;
    }
    let mut callers = Vec::new();
    for number in 0..PODS {
        let mut endpoints: Vec<_> = replicas.iter().map(knap_tests::Replica::endpoint).collect();
        endpoints.rotate_left(number % 3);
        let pod = format!("shop/burst-{number}");
        callers.push(Caller::on(&replicas[number % 3], "n1", &endpoints, &pod).await);
    }
    let begin = Instant::now();
    let attached = on_threads(&callers, |pod, caller| {
        let attach = |network| {
            let name = format!("burst-{pod}-{network}");
            let mut attached = Attached::new(&format!("shop/net-{network}"), &name, &name);
            // As the runtime does where the API server is too busy.
            while caller.attach(&mut attached).is_err() {}
            attached
        };
        (0..NETWORKS).map(attach).collect::<Vec<_>>()
    });
    let attach = begin.elapsed().as_secs_f64();
    let model = objects.leases().await.pop().expect("a lease");
    let begin = Instant::now();
    on_threads(&callers, |pod, caller| {
        attached[pod].iter().for_each(|attached| caller.release(attached).expect("a release"));
    });
    let release = begin.elapsed().as_secs_f64();
    let leases = raw::leases_like(&model, PODS * NETWORKS);
    let (created, _) = raw::pairs(&objects.client, &leases, PODS).await;
    let raw = leases.len() as f64 / created;
    println!("{PODS} pods with {NETWORKS} Networks each, at once, through three replicas");
    println!(
        "  attached in {attach:.1} s, raw creation {raw:.1} s ({:.2}); released in {release:.1} s",
        raw / attach
    );
    for mut replica in replicas {
        replica.stop().await;
    }
    Burst { attachments: PODS * NETWORKS, raw, attach, release }
}
