//! `make bench`: figures that the README quotes, with the aims beside them. Nothing is asserted.
//!
//! Needs root, the programs of `make dist` in `KNAP_BIN_DIR`, and Debian's CNI plugins; writes `KNAP_BENCH_JSON`.

mod connection;
mod leases;
mod load;
mod pairs;
mod report;
mod statistics;

use std::path::PathBuf;

use knap_tests::binaries;

use crate::report::{Report, megabytes};

/// Measured pairs of ADD and DEL, for each side.
const PAIRS: usize = 300;
/// Leases in the store when memory and start-up are looked at.
const LEASES: usize = 100_000;

fn main() -> anyhow::Result<()> {
    eprintln!("bench: {PAIRS} pairs of ADD and DEL on each side, in turn");
    let pairs = pairs::measure(PAIRS);
    eprintln!("bench: attach requests at 1, 16 and 128 connections");
    let load = load::measure(&[1, 16, 128]);
    eprintln!("bench: {LEASES} leases");
    let leases = leases::measure(LEASES);
    let report = Report {
        machine: report::Machine::here()?,
        plugin_megabytes: megabytes(std::fs::metadata(binaries::knap())?.len()),
        pairs,
        load,
        leases,
    };
    print!("{}", report.table());
    if let Some(file) = std::env::var_os("KNAP_BENCH_JSON").map(PathBuf::from) {
        std::fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")?;
        println!("written to {}", file.display());
    }
    Ok(())
}
