//! kill -9 of the plugin at every fault point and at random moments, and of the resolver in mid-burst.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use knap_tests::{
    Action, Answer, Call, Host, Sandbox, Script, Seed, bridge_class, eventually, network, thin_config,
};
use rstest::rstest;
use serde_json::json;

/// A host whose chain begins with a host link, so that its fault points are passed too.
fn host() -> Host {
    let host = Host::start(&[bridge_class(), network("shop/blue", &json!({}))], &["bridge"]);
    host.resolver.wait_ready("shop/blue");
    host
}

/// Runs `call` once per fault point and turn, each time on an attachment of its own that `prepare` has brought about,
/// and has each that was killed recovered before the next. Returns the names of the points that were passed.
fn kill_everywhere(
    host: &Host,
    label: &str,
    prepare: impl Fn(&str, &Sandbox),
    call: impl Fn(&str, &Sandbox) -> Call,
    recover: impl Fn(&str, Sandbox),
) -> BTreeSet<String> {
    let mut passed = BTreeSet::new();
    for (number, point) in host.fault_points().iter().enumerate() {
        for turn in 1.. {
            assert!(turn < 100, "{point} is passed without end");
            let container = format!("{label}-{number}-{turn}");
            let pod = host.pod(&container);
            prepare(&container, &pod);
            let answer: Answer = call(&container, &pod).fault_at(point, turn).run(host);
            let was_killed = answer.status.is_none();
            recover(&container, pod);
            if !was_killed {
                // Not passed so often: this one came to its end.
                break;
            }
            passed.insert(point.clone());
        }
    }
    assert!(!passed.is_empty(), "no fault point was passed");
    passed
}

/// How what a killed call has left is finished.
#[derive(Debug, Clone, Copy)]
enum Recovery {
    Del,
    Gc,
    AddAgain,
    Reap,
    Reboot,
}

impl Recovery {
    fn run(self, host: &Host, container: &str, pod: Sandbox) {
        let config = thin_config("shop/blue", "1.1.0");
        match self {
            Self::Del => Call::del(container, &pod, &config).run(host).quiet(),
            Self::Gc => Call::gc(&config, &[]).run(host).quiet(),
            Self::AddAgain => {
                add(container, &pod).run(host).result();
                Call::del(container, &pod, &config).run(host).quiet();
            }
            Self::Reap => {
                pod.remove();
                host.reap();
            }
            // All at once, in the end.
            Self::Reboot => pod.remove(),
        }
    }
}

fn add(container: &str, pod: &Sandbox) -> Call {
    Call::add(container, pod, &thin_config("shop/blue", "1.1.0")).pod("shop", container, container)
}

fn del(container: &str, pod: &Sandbox) -> Call {
    Call::del(container, pod, &thin_config("shop/blue", "1.1.0"))
}

/// Nothing is left; what the resolver may still hold for a request without an answer goes after its deadline.
fn assert_clean(host: &Host) {
    eventually("nothing is left", || {
        host.reap();
        let clean = host.ledger.traces().is_empty() && host.resolver.leases("shop/blue").is_empty();
        clean.then_some(())
    });
    host.assert_nothing_left("shop/blue");
    assert_undone(host);
}

/// Every delegate that ran ADD for an attachment ran DEL for it afterwards.
fn assert_undone(host: &Host) {
    let mut open: BTreeMap<(String, String), bool> = BTreeMap::new();
    for call in host.delegates.calls() {
        let key = (call.env("CNI_CONTAINERID").to_owned(), call.delegate.clone());
        open.insert(key, call.command == "ADD");
    }
    let open: Vec<_> = open.into_iter().filter(|(_, is_open)| *is_open).collect();
    assert!(open.is_empty(), "not undone: {open:?}");
}

#[rstest]
#[case::by_del(Recovery::Del)]
#[case::by_gc(Recovery::Gc)]
#[case::by_another_add(Recovery::AddAgain)]
#[case::by_reap(Recovery::Reap)]
#[case::by_reap_after_a_reboot(Recovery::Reboot)]
fn an_add_killed_anywhere_is_undone(#[case] recovery: Recovery) {
    let host = host();
    kill_everywhere(&host, "add", |_, _| {}, add, |container, pod| recovery.run(&host, container, pod));
    if matches!(recovery, Recovery::Reboot) {
        host.reboot(2);
    }
    assert_clean(&host);
}

#[rstest]
#[case::by_del(Recovery::Del)]
#[case::by_gc(Recovery::Gc)]
#[case::by_another_add(Recovery::AddAgain)]
#[case::by_reap(Recovery::Reap)]
fn a_del_killed_anywhere_is_finished(#[case] recovery: Recovery) {
    let host = host();
    let attached = |container: &str, pod: &Sandbox| drop(add(container, pod).run(&host).result());
    kill_everywhere(&host, "del", attached, del, |container, pod| recovery.run(&host, container, pod));
    assert_clean(&host);
}

#[test]
fn a_gc_killed_anywhere_is_finished_by_the_next() {
    let host = host();
    let attached = |container: &str, pod: &Sandbox| drop(add(container, pod).run(&host).result());
    let gc = |_: &str, _: &Sandbox| Call::gc(&thin_config("shop/blue", "1.1.0"), &[]);
    kill_everywhere(&host, "gc", attached, gc, |container, pod| Recovery::Gc.run(&host, container, pod));
    assert_clean(&host);
}

#[test]
fn every_fault_point_is_passed_by_something() {
    let host = host();
    let attached = |container: &str, pod: &Sandbox| drop(add(container, pod).run(&host).result());
    let recover = |container: &str, pod: Sandbox| Recovery::Del.run(&host, container, pod);
    let mut passed = kill_everywhere(&host, "add", |_, _| {}, add, recover);
    passed.extend(kill_everywhere(&host, "del", attached, del, recover));
    assert_clean(&host);
    let all: BTreeSet<String> = host.fault_points().into_iter().collect();
    assert_eq!(passed, all);
}

#[test]
fn an_add_killed_at_random_moments_is_undone() {
    let mut seed = Seed::printed("an_add_killed_at_random_moments_is_undone");
    let host = host();
    let config = thin_config("shop/blue", "1.1.0");
    let whole = {
        let pod = host.pod("measure");
        let begin = Instant::now();
        Call::add("measure", &pod, &config).run(&host).result();
        let whole = begin.elapsed();
        Call::del("measure", &pod, &config).run(&host).quiet();
        whole
    };
    for round in 0..60 {
        let container = format!("c{round}");
        let pod = host.pod(&container);
        let moment = whole.mul_f64(seed.below(1000) as f64 / 1000.0);
        let begin = Instant::now();
        let mut add = Call::add(&container, &pod, &config).spawn(&host);
        // The moment is what is tested, so it is not a condition to wait for.
        std::thread::sleep(moment.saturating_sub(begin.elapsed()));
        add.kill().unwrap();
        add.wait().unwrap();
        match seed.below(3) {
            0 => Call::del(&container, &pod, &config).run(&host).quiet(),
            1 => pod.remove(),
            _ => {
                Call::add(&container, &pod, &config).run(&host).result();
                Call::del(&container, &pod, &config).run(&host).quiet();
            }
        }
    }
    assert_clean(&host);
}

/// Runs an ADD and kills it while its second delegate is at work, which then works on alone.
fn add_killed_under_its_delegate(host: &Host, pod: &Sandbox, delegate: Action) {
    host.delegates.install_as("second", &Script::default().on("ADD", &[delegate]));
    let mut add = Call::add("c1", pod, &thin_config("shop/blue", "1.1.0")).spawn(host);
    eventually("the second delegate runs", || (host.delegates.steps().len() == 2).then_some(()));
    add.kill().unwrap();
    add.wait().unwrap();
}

#[test]
fn what_a_delegate_makes_after_its_add_was_killed_is_undone() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let gate = host.folder().join("gate");
    add_killed_under_its_delegate(&host, &pod, Action::AwaitFile(gate.clone()));
    // What is undone now would be made again by the one that still runs.
    let answer = host.reap();
    assert!(answer.status == Some(0) && answer.stdout.contains("\"busy\":1"), "{answer:?}");
    let mut del = Call::del("c1", &pod, &thin_config("shop/blue", "1.1.0")).spawn(&host);
    assert_eq!(host.delegates.steps(), ["ADD first", "ADD second"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    std::fs::write(&gate, "").unwrap();
    assert!(del.wait().unwrap().success());
    assert_eq!(host.delegates.steps()[2..], ["DEL third", "DEL second", "DEL first"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_del_names_what_keeps_it_waiting_for_a_delegate_that_never_ends() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    add_killed_under_its_delegate(&host, &pod, Action::Hang);
    // How long a DEL waits.
    host.write_node_file(&json!({ "addTimeoutSeconds": 1 }));
    let begin = Instant::now();
    let answer = Call::del("c1", &pod, &thin_config("shop/blue", "1.1.0")).run(&host);
    answer.fails(11, &["c1/net1", "delegate", "fuser", "c1@net1.lock"]);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(host.delegates.steps(), ["ADD first", "ADD second"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1, "the address is not free yet");
}

#[test]
fn a_child_that_a_delegate_leaves_behind_holds_up_nobody() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.1.0");
    let left_behind = [Action::LeaveChild];
    host.delegates.install_as("second", &Script::default().on("ADD", &left_behind).on("DEL", &left_behind));
    for _ in 0..2 {
        Call::add("c1", &pod, &config).run(&host).result();
        Call::del("c1", &pod, &config).run(&host).quiet();
    }
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_resolver_killed_in_mid_burst_neither_leaks_nor_gives_an_address_twice() {
    let mut seed = Seed::printed("a_resolver_killed_in_mid_burst_neither_leaks_nor_gives_an_address_twice");
    let host = host();
    let config = thin_config("shop/blue", "1.1.0");
    let pods: Vec<Sandbox> = (0..8).map(|number| host.pod(&format!("pod-{number}"))).collect();
    let pauses: Vec<u64> = (0..4).map(|_| 50 + seed.number() % 250).collect();
    let attached: Vec<(String, usize, Vec<String>)> = std::thread::scope(|scope| {
        let (host, config) = (&host, &config);
        let workers: Vec<_> = pods
            .iter()
            .enumerate()
            .map(|(worker, pod)| {
                scope.spawn(move || {
                    let mut attached = Vec::new();
                    for round in 0..12 {
                        let container = format!("w{worker}-{round}");
                        let answer = Call::add(&container, pod, config).run(host);
                        if answer.status == Some(0) {
                            attached.push((container, worker, answer.addresses()));
                        } else {
                            answer.fails(11, &[]);
                        }
                    }
                    attached
                })
            })
            .collect();
        for pause in pauses {
            // Random moments in the burst, by the printed seed.
            std::thread::sleep(Duration::from_millis(pause));
            host.resolver.kill();
            host.resolver.start();
        }
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(!attached.is_empty(), "no ADD succeeded at all");
    let mut seen = HashSet::new();
    for (container, _, addresses) in &attached {
        assert!(
            addresses.iter().all(|address| seen.insert(address.clone())),
            "{container}: {addresses:?} twice"
        );
    }
    let leases = host.resolver.attachments("shop/blue");
    for (container, _, addresses) in &attached {
        let lease = leases.iter().find(|lease| lease.key.container_id.as_str() == container);
        assert_eq!(lease.map(|lease| &lease.addresses), Some(addresses), "{container} lost its lease");
    }
    // Half by DEL, the rest by the end of their sandboxes.
    for (container, worker, _) in &attached {
        if worker % 2 == 0 {
            Call::del(container, &pods[*worker], &config).run(&host).quiet();
        }
    }
    drop(pods);
    assert_clean(&host);
}
