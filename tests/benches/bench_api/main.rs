//! `make bench`, its part on a real Kubernetes API: attachments beside the raw rate at which this API server creates and deletes
//! such objects, in turn, in one run; what they cost it by its own count; many Networks and leases. Nothing is asserted.
//!
//! Needs `KUBEBUILDER_ASSETS` and the programs of `make dist` in `KNAP_BIN_DIR`; writes `KNAP_BENCH_API_JSON`.

mod burst;
mod rates;
mod raw;
mod scale;

use std::path::PathBuf;

use knap_tests::KubernetesApi;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Report {
    rates: Vec<rates::Rates>,
    burst: burst::Burst,
    scale: scale::Scale,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let rates = rates::measure(&api).await;
    let burst = burst::measure(&api).await;
    drop(api);
    let report = Report { rates, burst, scale: scale::measure().await };
    if let Some(file) = std::env::var_os("KNAP_BENCH_API_JSON").map(PathBuf::from) {
        std::fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")?;
        println!("written to {}", file.display());
    }
    Ok(())
}

/// How many of something from the environment, for a short run.
fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The middle of an odd number of rounds.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
