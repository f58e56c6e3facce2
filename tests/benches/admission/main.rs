//! `make bench`, admission: how long the resolver takes for a review under load, and what its webhook adds to the creation of a
//! pod. Nothing is asserted.
//!
//! Needs the programs of `make dist` in `KNAP_BIN_DIR` and an API server in `KUBEBUILDER_ASSETS`; writes `KNAP_BENCH_JSON`.

mod pods;
mod reviews;

use std::path::PathBuf;
use std::time::Duration;

use knap_tests::{KubernetesApi, Objects, Replica};
use serde::Serialize;
use serde_json::json;

/// All figures.
#[derive(Debug, Serialize)]
struct Report {
    reviews: reviews::Reviews,
    pods: pods::Pods,
}

/// Milliseconds of one operation, over many runs.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    median: f64,
    p95: f64,
    p99: f64,
}

impl Spread {
    fn of(mut runs: Vec<Duration>) -> Self {
        runs.sort_unstable();
        let at = |percent: usize| {
            let position = runs.len().saturating_sub(1) * percent / 100;
            runs.get(position).copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        Self { median: at(50), p95: at(95), p99: at(99) }
    }

    fn print(self, name: &str, aim: &str) {
        let Self { median, p95, p99 } = self;
        println!("  {name:<34} {median:>7.2} ms  (p95 {p95:.2}, p99 {p99:.2})   {aim}");
    }
}

/// An API whose pods the resolver is asked about, in the namespaces labelled `asked: "true"` alone.
async fn start() -> (KubernetesApi, Replica, Objects) {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let mut replica = api.replica(&["--log=warn"]);
    api.install_webhooks(&replica).await;
    replica.start();
    replica.wait_ready().await;
    let objects = api.objects().await;
    for (namespace, asked) in [("shop", "true"), ("bare", "false")] {
        objects.namespace(namespace, &[("asked", asked)]).await;
        objects.service_account(namespace).await;
    }
    for network in 0..100 {
        objects.network(&format!("shop/net-{network}"), json!({"provider": "bridge"})).await;
    }
    objects.ready("shop/net-99").await;
    objects.webhooks_answer().await;
    (api, replica, objects)
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(async {
        let (_api, replica, objects) = start().await;
        eprintln!("bench: reviews of pods, 1,000 a second from 32 clients");
        let reviews = reviews::measure(&replica).await;
        eprintln!("bench: pods through the API server, with and without the webhook in turn");
        let pods = pods::measure(&objects).await;
        Report { reviews, pods }
    });
    report.reviews.print();
    report.pods.print();
    if let Some(file) = std::env::var_os("KNAP_BENCH_JSON").map(PathBuf::from) {
        std::fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")?;
        println!("written to {}", file.display());
    }
    Ok(())
}
