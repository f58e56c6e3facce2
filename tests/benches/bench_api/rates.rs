//! Attaches and releases per second through one replica and through three, beside raw creations and deletions, in turn.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use knap_api::NetworkLease;
use knap_tests::{Attached, Caller, Counters, KubernetesApi, Objects, Replica};
use serde::Serialize;
use serde_json::json;

use crate::raw::{self, rate};
use crate::{median, number};

/// Alternations; their median counts.
const ROUNDS: usize = 5;

/// What one number of clients saw.
#[derive(Debug, Serialize)]
pub(crate) struct Rates {
    clients: usize,
    /// Per second: creations and deletions without Knap.
    raw: (f64, f64),
    /// Attaches and releases through one replica.
    one: (f64, f64),
    /// Through three.
    three: (f64, f64),
    /// The API server's requests for each attach: creations, reads of leases, looks at Reservations.
    for_an_attach: (f64, f64, f64),
    /// For each release: deletions, reads, lists.
    for_a_release: (f64, f64, f64),
    /// Shares of both cores' time while attaching through three: the API server with etcd, the resolvers, the rest.
    shares: (f64, f64, f64),
}

pub(crate) async fn measure(api: &KubernetesApi) -> Vec<Rates> {
    let replicas = api.start_replicas_with(3, &["--log=warn"]).await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    let subnets = json!([{ "cidr": "10.64.0.0/10", "prefixLength": 12 }]);
    objects.class("roomy", json!({ "provider": "bridge", "subnets": subnets })).await;
    objects.network("shop/blue", json!({ "class": "roomy" })).await;
    objects.ready("shop/blue").await;
    let model = model(&replicas, &objects).await;
    let mut all = Vec::new();
    for clients in [1, 16, 128] {
        all.push(with(api, &replicas, &objects, &model, clients).await);
    }
    for mut replica in replicas {
        replica.stop().await;
    }
    all
}

/// A lease as it is made for an attachment.
async fn model(replicas: &[Replica], objects: &Objects) -> NetworkLease {
    let caller = Caller::on(&replicas[0], "n1", &[replicas[0].endpoint()], "shop/model").await;
    let mut attached = Attached::new("shop/blue", "model", "model");
    tokio::task::block_in_place(|| caller.attach(&mut attached)).expect("an attachment");
    let lease = objects.leases().await.pop().expect("its lease");
    tokio::task::block_in_place(|| caller.release(&attached)).expect("a release");
    lease
}

async fn with(
    api: &KubernetesApi,
    replicas: &[Replica],
    objects: &Objects,
    model: &NetworkLease,
    clients: usize,
) -> Rates {
    let count = number("KNAP_BENCH_COUNT", 1024).max(clients) / if clients == 1 { 4 } else { 1 };
    let leases = raw::leases_like(model, count);
    let (first, all) = (callers(&replicas[..1], clients).await, callers(replicas, clients).await);
    let mut figures: [Vec<(f64, f64)>; 3] = Default::default();
    let (mut attach, mut release) = (Counters::default(), Counters::default());
    let mut shares = (0.0, 0.0, 0.0);
    for round in 0..ROUNDS {
        figures[0].push(raw::pairs(&objects.client, &leases, clients).await);
        figures[1].push(knap(&first, count, &format!("o{clients}-{round}"), api).await.rates);
        let busy = Busy::now();
        let through_all = knap(&all, count, &format!("t{clients}-{round}"), api).await;
        (attach, release, shares) = (through_all.attach, through_all.release, busy.shares());
        figures[2].push(through_all.rates);
    }
    let [raw, one, three] = figures.map(|rounds| {
        let (attaches, releases) = rounds.into_iter().unzip();
        (median(attaches), median(releases))
    });
    let each = |counters: &Counters, verb, resource| counters.count(verb, resource) as f64 / count as f64;
    let rates = Rates {
        clients,
        raw,
        one,
        three,
        for_an_attach: (
            each(&attach, "POST", "networkleases"),
            each(&attach, "GET", "networkleases"),
            each(&attach, "GET", "reservations"),
        ),
        for_a_release: (
            each(&release, "DELETE", "networkleases"),
            each(&release, "GET", "networkleases"),
            each(&release, "LIST", "networkleases"),
        ),
        shares,
    };
    rates.print();
    rates
}

impl Rates {
    fn print(&self) {
        let Self { clients, raw, one, three, .. } = self;
        println!("{clients} clients, median of {ROUNDS} rounds in turn");
        println!("  raw creations {:.0}/s, deletions {:.0}/s", raw.0, raw.1);
        for (name, (attaches, releases)) in [("one replica", one), ("three replicas", three)] {
            println!(
                "  {name}: attaches {attaches:.0}/s ({:.2} of raw), releases {releases:.0}/s ({:.2})",
                attaches / raw.0,
                releases / raw.1
            );
        }
        let (creates, reads, looks) = self.for_an_attach;
        println!(
            "  an attach: {creates:.3} creations, {reads:.3} reads of leases, {looks:.3} looks at reservations"
        );
        let (deletes, reads, lists) = self.for_a_release;
        println!("  a release: {deletes:.3} deletions, {reads:.3} reads, {lists:.3} lists");
        let (api, resolvers, rest) = self.shares;
        println!(
            "  time: API server and etcd {api:.2}, resolvers {resolvers:.2}, callers and the rest {rest:.2}"
        );
    }
}

/// So many plugins, spread over replicas. Each opens a connection for each call, as the plugin does.
async fn callers(replicas: &[Replica], clients: usize) -> Arc<Vec<Caller>> {
    let mut callers = Vec::new();
    for number in 0..clients {
        let replica = &replicas[number % replicas.len()];
        callers.push(Caller::on(replica, "n1", &[replica.endpoint()], &format!("shop/pod-{number}")).await);
    }
    Arc::new(callers)
}

struct Through {
    rates: (f64, f64),
    attach: Counters,
    release: Counters,
}

async fn knap(callers: &Arc<Vec<Caller>>, count: usize, name: &str, api: &KubernetesApi) -> Through {
    let before = api.counters().await;
    let begin = Instant::now();
    let share = count / callers.len();
    let attached = on_threads(callers, |number, caller| {
        let attach = |turn| {
            let container = format!("{name}-{number}-{turn}");
            let mut attached = Attached::new("shop/blue", &container, &container);
            caller.attach(&mut attached).expect("an attachment");
            attached
        };
        (0..share).map(attach).collect::<Vec<_>>()
    });
    let attaches = rate(share * callers.len(), begin);
    let between = api.counters().await;
    let begin = Instant::now();
    on_threads(callers, |number, caller| {
        attached[number].iter().for_each(|attached| caller.release(attached).expect("a release"));
    });
    let releases = rate(share * callers.len(), begin);
    let after = api.counters().await;
    Through { rates: (attaches, releases), attach: between.since(&before), release: after.since(&between) }
}

/// Every caller on a thread of its own.
pub(crate) fn on_threads<T: Send>(callers: &[Caller], act: impl Fn(usize, &Caller) -> T + Sync) -> Vec<T> {
    let act = &act;
    tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            let threads: Vec<_> = callers
                .iter()
                .enumerate()
                .map(|(number, caller)| scope.spawn(move || act(number, caller)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a caller")).collect()
        })
    })
}

/// Processor time by program since a moment.
struct Busy {
    api: u64,
    resolvers: u64,
    all: u64,
}

impl Busy {
    fn now() -> Self {
        Self {
            api: ticks(&["kube-apiserver", "etcd"]),
            resolvers: ticks(&["knap-resolver"]),
            all: all_ticks(),
        }
    }

    fn shares(&self) -> (f64, f64, f64) {
        let now = Self::now();
        let all = (now.all - self.all).max(1) as f64;
        let (api, resolvers) =
            ((now.api - self.api) as f64 / all, (now.resolvers - self.resolvers) as f64 / all);
        (api, resolvers, 1.0 - api - resolvers)
    }
}

/// User and system time of this process's programs of these names.
fn ticks(names: &[&str]) -> u64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let times = processes.filter_map(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ours = fields.get(1).and_then(|parent| parent.parse::<u32>().ok()) == Some(std::process::id());
        let time = |index: usize| fields.get(index)?.parse::<u64>().ok();
        (ours && names.contains(&name)).then(|| Some(time(11)? + time(12)?))?
    });
    times.sum()
}

/// What all processes together had, idle time left out.
fn all_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    fields.iter().enumerate().filter(|(index, _)| !matches!(index, 3 | 4)).map(|(_, ticks)| ticks).sum()
}
