//! What many leases cost: memory, start-up, and the attach request that comes on top of them.

use std::time::{Duration, Instant};

use knap_tests::Host;
use serde::Serialize;

use crate::load::{Client, Load, on_threads, roomy_host, spell};
use crate::report::megabytes;
use crate::statistics::Spread;

/// Connections that load the store.
const LOADERS: usize = 64;

#[derive(Debug, Serialize)]
pub(crate) struct Leases {
    pub(crate) count: usize,
    /// Resident set with no lease.
    pub(crate) empty_megabytes: f64,
    /// Resident set right after the last of them was made.
    pub(crate) loaded_megabytes: f64,
    /// Resident set after a restart with all of them in the store.
    pub(crate) restarted_megabytes: f64,
    /// From the process's start until it serves.
    pub(crate) start_up_milliseconds: f64,
    /// The resolver under load with all of them there.
    pub(crate) load: Load,
}

pub(crate) fn measure(count: usize) -> Leases {
    let host = roomy_host();
    let empty_megabytes = resident_megabytes(&host);
    fill(&host, count);
    let loaded_megabytes = resident_megabytes(&host);
    host.resolver.stop();
    let begin = Instant::now();
    host.resolver.start();
    let start_up = begin.elapsed();
    let restarted_megabytes = resident_megabytes(&host);
    let load = spell(&host, 16);
    Leases {
        count,
        empty_megabytes,
        loaded_megabytes,
        restarted_megabytes,
        start_up_milliseconds: Spread::of(vec![start_up]).median,
        load,
    }
}

/// Makes so many leases through the API.
fn fill(host: &Host, count: usize) {
    let begin = Instant::now();
    let refused: usize = on_threads(host, LOADERS, |worker| {
        let mut client = Client::new(host, format!("loader-{worker}"));
        let share = count / LOADERS + usize::from(worker < count % LOADERS);
        (0..share).filter(|_| client.attach().is_none()).count()
    })
    .into_iter()
    .sum();
    assert_eq!(refused, 0, "attach requests were refused while the store was filled");
    eprintln!("bench: {count} leases made in {:.0?}", Duration::from_secs(begin.elapsed().as_secs()));
}

/// VmRSS of the resolver.
fn resident_megabytes(host: &Host) -> f64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", host.resolver.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    megabytes(kibibytes * 1024)
}
