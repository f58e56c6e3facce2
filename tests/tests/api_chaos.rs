//! Three replicas, 64 nodes' worth of clients, and somebody who kills and freezes replicas and the API server at random: no
//! address twice, nothing left, and whatever failed said why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use knap_client::Outcome;
use knap_tests::{Attached, Caller, KubernetesApi, Objects, Replica, Seed};
use kube::ResourceExt;
use serde_json::json;

const CLIENTS: usize = 64;
/// Attachments that each client makes, one after the other; it gives back some of them on the way.
const EACH: usize = 32;
const NODES: usize = 4;
const NETWORKS: usize = 4;
/// What a client waits for at most before its next attachment: so many take as long as there is trouble.
const PAUSE: Duration = Duration::from_millis(1000);
/// How long a client asks, over all endpoints: as long as the plugin.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long there is trouble at most.
const TROUBLE: Duration = Duration::from_secs(40);
/// Longer than any trouble lasts.
const STUCK: Duration = Duration::from_secs(240);

/// What a client did, as its ledger has it.
#[derive(Default)]
struct Ledger {
    running: Vec<Attached>,
    /// Asked for and perhaps still under way in a resolver: to be released again after this.
    unsettled: Vec<(Instant, Attached)>,
    /// What failed attempts said.
    failures: Vec<String>,
}

struct Client {
    number: usize,
    caller: Caller,
    seed: Seed,
    ledger: Ledger,
}

impl Client {
    fn run(mut self) -> (Caller, Ledger) {
        for turn in 0..EACH {
            let pause = self.seed.below(usize::try_from(PAUSE.as_millis()).unwrap());
            thread::sleep(Duration::from_millis(pause as u64));
            self.attach(turn);
            if self.seed.below(3) == 0 {
                let given_back = self.seed.below(self.ledger.running.len());
                let attached = self.ledger.running.swap_remove(given_back);
                self.release(&attached);
            }
        }
        (self.caller, self.ledger)
    }

    /// As the kubelet: again until it succeeds, each time as a new attempt.
    fn attach(&mut self, turn: usize) {
        let network = format!("shop/net-{}", self.seed.below(NETWORKS));
        let container = format!("c{}-{turn}", self.number);
        let begin = Instant::now();
        for attempt in 0.. {
            assert!(begin.elapsed() < STUCK, "{container} stays without: {:?}", self.ledger.failures);
            let mut attached = Attached::new(&network, &container, &format!("{container}-{attempt}"));
            let asked = Instant::now();
            let Err(error) = self.caller.attach(&mut attached) else {
                self.ledger.running.push(attached);
                return;
            };
            self.ledger.failures.push(error.to_string());
            match error.outcome {
                Outcome::Nothing => {}
                Outcome::Perhaps => self.release(&attached),
                Outcome::Pending => {
                    let _ = self.caller.release(&attached);
                    self.ledger.unsettled.push((asked + PATIENCE, attached));
                }
            }
            // Whoever asks again at once keeps those busy who have just come back.
            thread::sleep(Duration::from_millis(250 << attempt.min(4)));
        }
    }

    fn release(&self, attached: &Attached) {
        until_released(&self.caller, attached);
    }
}

fn until_released(caller: &Caller, attached: &Attached) {
    let begin = Instant::now();
    while let Err(error) = caller.release(attached) {
        assert!(begin.elapsed() < STUCK, "{} can't be released: {error}", attached.key.container_id);
        thread::sleep(Duration::from_millis(200));
    }
}

/// One kind of trouble after the other until all clients have what they want.
async fn trouble(api: &mut KubernetesApi, replicas: &mut [Replica], seed: &mut Seed, done: &AtomicUsize) {
    let mut counts = BTreeMap::<&str, usize>::new();
    let begin = Instant::now();
    while done.load(Ordering::Relaxed) < CLIENTS && begin.elapsed() < TROUBLE {
        let milliseconds = |seed: &mut Seed, most| Duration::from_millis(200 + seed.below(most) as u64);
        let victim = seed.below(replicas.len());
        // The API server is killed in every run.
        let what = match if counts.is_empty() { 0 } else { seed.below(8) } {
            0 => {
                api.kill_server();
                tokio::time::sleep(milliseconds(seed, 500)).await;
                api.restart_server().await;
                "API server killed"
            }
            1 => {
                api.pause_server();
                tokio::time::sleep(milliseconds(seed, 2500)).await;
                api.resume_server();
                "API server frozen"
            }
            2..=4 => {
                replicas[victim].freeze();
                tokio::time::sleep(milliseconds(seed, 3000)).await;
                replicas[victim].thaw();
                "replica frozen"
            }
            _ => {
                replicas[victim].kill().await;
                tokio::time::sleep(milliseconds(seed, 1500)).await;
                replicas[victim].start();
                "replica killed"
            }
        };
        *counts.entry(what).or_default() += 1;
        tokio::time::sleep(milliseconds(seed, 800)).await;
    }
    println!("{counts:?}");
    assert!(!counts.is_empty(), "there was trouble");
}

async fn clients(
    replicas: &[Replica],
    seed: &mut Seed,
    done: &Arc<AtomicUsize>,
) -> Vec<JoinHandle<(Caller, Ledger)>> {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut endpoints: Vec<_> = replicas.iter().map(Replica::endpoint).collect();
        seed.shuffle(&mut endpoints);
        let (node, pod) = (format!("n{}", number % NODES), format!("shop/pod-{number}"));
        let caller = Caller::on(&replicas[0], &node, &endpoints, &pod).await.with_patience(PATIENCE);
        clients.push(Client { number, caller, seed: seed.child(), ledger: Ledger::default() });
    }
    let start = |client: Client| {
        let done = Arc::clone(done);
        thread::spawn(move || {
            let ended = client.run();
            done.fetch_add(1, Ordering::Relaxed);
            ended
        })
    };
    clients.into_iter().map(start).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_no_address_is_given_twice_and_nothing_is_left() {
    let mut seed = Seed::printed("chaos");
    let mut api = KubernetesApi::start().await;
    api.install_crds().await;
    let mut replicas = api.start_replicas(3).await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    // So small that what is free has to be looked for.
    let subnets = json!([{"cidr": "10.64.0.0/12", "prefixLength": 23}]);
    objects.class("fab", json!({"provider": "bridge", "subnets": subnets})).await;
    for number in 0..NETWORKS {
        objects.network(&format!("shop/net-{number}"), json!({"class": "fab"})).await;
        objects.ready(&format!("shop/net-{number}")).await;
    }
    let done = Arc::new(AtomicUsize::new(0));
    let clients = clients(&replicas, &mut seed, &done).await;
    let begin = Instant::now();
    trouble(&mut api, &mut replicas, &mut seed, &done).await;
    for replica in &replicas {
        replica.wait_ready().await;
    }
    let ended: Vec<(Caller, Ledger)> =
        clients.into_iter().map(|client| client.join().expect("a client")).collect();
    println!("{} attachments in {:.0?}", CLIENTS * EACH, begin.elapsed());
    settle(&objects, ended).await;
}

/// What the ledgers say and what the API has is the same, and in the end nothing.
async fn settle(objects: &Objects, ended: Vec<(Caller, Ledger)>) {
    let failures: Vec<&String> = ended.iter().flat_map(|(_, ledger)| &ledger.failures).collect();
    for failure in &failures {
        assert!(failure.len() > 20 && failure.contains(' '), "that is no reason: {failure:?}");
    }
    let kinds: BTreeSet<String> = failures.iter().map(|failure| without_names(failure)).collect();
    println!("{} attempts failed:\n  {}", failures.len(), kinds.into_iter().collect::<Vec<_>>().join("\n  "));

    // As the plugin's tombstones: again, after the deadline of what they release.
    let count: usize = ended.iter().map(|(_, ledger)| ledger.unsettled.len()).sum();
    tokio::task::block_in_place(|| {
        on_every_node(&ended, |caller, ledger| {
            for (settled, attached) in &ledger.unsettled {
                thread::sleep(settled.saturating_duration_since(Instant::now()));
                until_released(caller, attached);
            }
        });
    });
    // And what not even that finds, as the agent does.
    let suspects = tokio::task::block_in_place(|| reconcile(&ended));
    println!("{count} releases sent again; {suspects} leases found by reconcile");

    let running: BTreeMap<_, _> = ended
        .iter()
        .flat_map(|(_, ledger)| &ledger.running)
        .map(|attached| (attached.attempt.to_string(), attached))
        .collect();
    let mut held = BTreeSet::new();
    for attached in running.values() {
        assert_eq!(attached.leases.len(), 1, "{attached:?}");
        for address in &attached.addresses {
            assert!(held.insert((attached.network.clone(), address.clone())), "twice: {attached:?}");
        }
    }
    let there = objects.leases().await;
    let there: BTreeSet<_> =
        there.iter().map(|lease| (lease.name_any(), lease.spec.holders[0].attempt.clone())).collect();
    let is_there =
        |attached: &&&Attached| there.contains(&(attached.leases[0].clone(), attached.attempt.to_string()));
    let lost: Vec<_> = running.values().filter(|attached| !is_there(attached)).collect();
    let leaked: Vec<_> = there.iter().filter(|(_, attempt)| !running.contains_key(attempt)).collect();
    assert!(lost.is_empty() && leaked.is_empty(), "lost: {lost:?}; left: {leaked:?}");
    // A question that was repeated at a replica which had not heard of the first one's lease yet: both are the attempt's.
    println!("{} attachments have a lease more than they know of", there.len() - running.len());

    tokio::task::block_in_place(|| {
        on_every_node(&ended, |caller, ledger| {
            ledger.running.iter().for_each(|attached| until_released(caller, attached));
        });
        let nothing: Vec<_> = ended.into_iter().map(|(caller, _)| (caller, Ledger::default())).collect();
        reconcile(&nothing);
    });
    assert!(objects.leases().await.is_empty());
}

fn on_every_node(ended: &[(Caller, Ledger)], act: impl Fn(&Caller, &Ledger) + Sync) {
    let act = &act;
    thread::scope(|scope| {
        for (caller, ledger) in ended {
            scope.spawn(move || act(caller, ledger));
        }
    });
}

/// Every node compares what it has with what the resolver knows, and releases what it does not have.
fn reconcile(ended: &[(Caller, Ledger)]) -> usize {
    let mut suspects = 0;
    for node in 0..NODES {
        let here = || ended.iter().skip(node).step_by(NODES);
        let running: Vec<Attached> = here().flat_map(|(_, ledger)| ledger.running.clone()).collect();
        let (caller, _) = here().next().expect("a client of the node");
        let reply = caller.reconcile(&running).expect("an answer");
        assert!(reply.reassert.is_empty(), "what runs has its lease: {:?}", reply.reassert);
        for suspect in reply.suspects {
            // As under its lock: what runs is left alone, and its DELETE frees all of its attempt.
            if running.iter().any(|attached| attached.attempt == suspect.attempt) {
                continue;
            }
            let mut attached =
                Attached::new("shop/any", suspect.key.container_id.as_str(), suspect.attempt.as_str());
            attached.leases = vec![suspect.lease];
            until_released(caller, &attached);
            suspects += 1;
        }
    }
    suspects
}

/// A message without what differs from one to the next.
fn without_names(message: &str) -> String {
    let words = message
        .split(' ')
        .map(|word| if word.contains(|letter: char| letter.is_ascii_digit()) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
