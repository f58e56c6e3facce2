//! DEL: from the ledger alone, in reverse, repeatable, whatever is left of the world.

use std::fs;
use std::time::{Duration, Instant};

use knap_tests::{Action, Call, Host, Script, Wire, network, recorded_class, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

const REVERSE: [&str; 3] = ["DEL third", "DEL second", "DEL first"];

fn failing(code: u32, times: usize) -> Script {
    let mut actions = vec![Action::Error(code, "the cable is stuck".into()); times];
    actions.push(Action::Succeed);
    Script::default().on("DEL", &actions)
}

#[rstest]
fn delegates_run_in_reverse_each_with_the_final_result(
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", version);
    config["runtimeConfig"] = json!({ "mac": "02:11:22:33:44:55" });
    let result = Call::add("c1", &pod, &config).run(&host).result();
    let added = host.delegates.calls();
    host.delegates.forget();
    // Multus' cache keeps little, a hot-unplug nothing: the ledger's copies count.
    let thin = thin_config("shop/blue", version);
    Call::del("c1", &pod, &thin).run(&host).quiet();
    assert_eq!(host.delegates.steps(), REVERSE);
    for call in host.delegates.calls() {
        let add = added.iter().find(|add| add.delegate == call.delegate).unwrap();
        let mut expected = add.stdin.clone();
        expected["prevResult"] = result.clone();
        assert_eq!(call.stdin, expected);
        assert_eq!(call.env("CNI_NETNS"), pod.path().to_str().unwrap());
        assert_eq!(call.env("CNI_CONTAINERID"), "c1");
        assert_eq!(call.env("CNI_IFNAME"), "net1");
    }
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn what_is_undone_is_released_before_the_call_returns(#[values("DEL", "GC", "reap", "ADD")] by: &str) {
    let host = Host::recorded();
    let config = thin_config("shop/blue", "1.1.0");
    if by == "ADD" {
        let cut = Action::Error(117, "the cable is cut".into());
        host.delegates.install_as("third", &Script::default().on("ADD", &[cut]));
    }
    let mut left = Vec::new();
    let mut leaves_nothing = |number: usize| {
        let container = format!("c{number}");
        let pod = host.pod(&container);
        let add = Call::add(&container, &pod, &config).run(&host);
        match by {
            "ADD" => drop(add.fails(117, &["third"])),
            _ => drop(add.result()),
        }
        match by {
            "DEL" => Call::del(&container, &pod, &config).run(&host).quiet(),
            "GC" => Call::gc(&config, &[]).run(&host).quiet(),
            "reap" => {
                pod.remove();
                host.reap();
            }
            _ => {}
        }
        left = [host.ledger.traces(), host.resolver.leases("shop/blue")].concat();
        left.is_empty()
    };
    // One in five: a resolver that is busy for two seconds is told later.
    assert!((0..5).any(&mut leaves_nothing), "{left:?}");
}

#[test]
fn it_can_be_repeated() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.delegates.forget();
    for _ in 0..3 {
        Call::del("c1", &pod, &config).run(&host).quiet();
    }
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn of_what_was_never_attached_it_succeeds(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = Host::new();
    let pod = host.pod("web-0");
    // Neither a resolver nor a network of that name: nobody is asked.
    Call::del("c1", &pod, &thin_config("shop/blue", version)).run(&host).quiet();
    Call::del("c1", &pod, &thin_config("shop/blue", version)).env("CNI_NETNS", "").run(&host).quiet();
}

#[test]
fn without_a_netns_the_original_string_is_forwarded() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    Call::del("c1", &pod, &config).env("CNI_NETNS", "").run(&host).quiet();
    for call in host.delegates.calls() {
        assert_eq!(call.env("CNI_NETNS"), pod.path().to_str().unwrap(), "{call:?}");
    }
    assert_eq!(host.delegates.steps(), REVERSE);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_plain_file_in_the_namespaces_place_is_believed_gone_only_if_the_runtime_says_so() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    let path = pod.path().to_owned();
    pod.remove();
    fs::write(&path, "").unwrap();
    let named = Call::new("DEL", "c1", &config).netns(&path);
    named.run(&host).fails(8, &[path.to_str().unwrap(), "HostToContainer"]);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    Call::new("DEL", "c1", &config).env("CNI_NETNS", "").run(&host).quiet();
    assert_eq!(host.delegates.steps(), REVERSE);
    assert_eq!(host.delegates.the("DEL first").env("CNI_NETNS"), "");
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::names_it(true)]
#[case::does_not(false)]
fn of_a_namespace_that_is_gone_the_delegates_errors_do_not_fail_us(#[case] names_it: bool) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let path = pod.path().to_str().unwrap().to_owned();
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    pod.remove();
    host.delegates.install_as("second", &failing(8, 9));
    let call = Call::new("DEL", "c1", &config).env("CNI_NETNS", if names_it { &path } else { "" });
    let answer = call.run(&host);
    answer.quiet();
    assert!(answer.stderr.contains("the cable is stuck"), "it is reported: {answer:?}");
    assert_eq!(host.delegates.steps(), REVERSE);
    assert_eq!(host.delegates.the("DEL first").env("CNI_NETNS"), path);
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn past_a_failing_delegate_it_goes_on_and_keeps_the_entry_for_a_retry(
    #[values("first", "second", "third")] culprit: &str,
) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    host.delegates.install_as(culprit, &failing(117, 1));
    Call::del("c1", &pod, &config).run(&host).fails(117, &[culprit, "the cable is stuck"]);
    assert_eq!(host.delegates.steps(), REVERSE);
    assert_eq!(host.ledger.entries(), ["c1@net1.json"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1, "the address is not free yet");
    host.delegates.forget();
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert!(host.delegates.steps().contains(&format!("DEL {culprit}")), "{:?}", host.delegates.steps());
    host.assert_nothing_left("shop/blue");
}

#[test]
fn all_errors_are_reported() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    for culprit in ["first", "third"] {
        host.delegates.install_as(culprit, &failing(117, 1));
    }
    Call::del("c1", &pod, &config).run(&host).fails(117, &["first", "third", "the cable is stuck"]);
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_delegate_that_is_gone_is_an_error_until_it_is_back() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    host.delegates.uninstall("second");
    Call::del("c1", &pod, &config).run(&host).fails(101, &["second"]);
    assert_eq!(host.delegates.steps(), ["DEL third", "DEL first"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    host.delegates.install("second");
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn with_the_resolver_down_it_succeeds_and_the_lease_follows(
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", version);
    Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    host.resolver.stop();
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.delegates.steps(), REVERSE);
    assert_eq!((host.ledger.entries().len(), host.ledger.tombstones().len()), (0, 1));
    host.ledger.assert_private();
    host.resolver.start();
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    // Any later call flushes it.
    Call::del("c2", &pod, &config).run(&host).quiet();
    assert_eq!(host.delegates.steps(), REVERSE, "the delegates were done before");
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_tombstone_does_not_stand_in_the_way_of_another_add() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.resolver.kill();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.resolver.start();
    Call::add("c1", &pod, &config).run(&host).result();
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    let lease = host.ledger.entry("c1", "net1").unwrap()["leases"][0].clone();
    assert_eq!(json!(host.resolver.leases("shop/blue")), json!([lease]));
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_resolver_that_does_not_answer_costs_two_seconds() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.resolver.freeze();
    let begin = Instant::now();
    Call::del("c1", &pod, &config).run(&host).quiet();
    let took = begin.elapsed();
    host.resolver.thaw();
    // Two seconds for the release, and a little of the same for older tombstones; far from the kubelet's minutes.
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(host.ledger.tombstones().len(), 1);
    Call::del("c2", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_release_that_the_resolver_refuses_is_not_forgotten() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    wire.on("DELETE", knap_tests::Behaviour::Answer(500, "text/html", "<h1>sorry</h1>".into()));
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.ledger.tombstones().len(), 1);
    wire.on("DELETE", knap_tests::Behaviour::Forward);
    Call::del("c2", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::changed(Some(json!({ "subnets": ["10.99.0.0/24"], "routes": [{ "destination": "172.16.0.0/12" }] })))]
#[case::gone(None)]
fn what_add_used_is_what_del_uses(#[case] change: Option<Value>) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    let added = host.delegates.the("ADD first");
    let before = host.resolver.network("shop/blue");
    match change {
        Some(spec) => {
            host.delegates.install("other");
            host.resolver.write_manifest("00.yaml", &recorded_class(&["other"]));
            host.resolver.write_manifest("01.yaml", &network("shop/blue", &spec));
        }
        None => host.resolver.remove_manifest("01.yaml"),
    }
    knap_tests::eventually("the change is seen", || {
        (host.resolver.network("shop/blue") != before).then_some(())
    });
    host.delegates.forget();
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.delegates.steps(), REVERSE);
    assert_eq!(host.delegates.the("DEL first").stdin["ipam"], added.stdin["ipam"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_removed_network_refuses_new_attachments_and_keeps_the_running_ones() {
    let host = Host::recorded();
    let (pod, other) = (host.pod("web-0"), host.pod("web-1"));
    let config = thin_config("shop/blue", "1.0.0");
    let result = Call::add("c1", &pod, &config).run(&host).result();
    host.resolver.remove_manifest("01.yaml");
    knap_tests::eventually("the Network is gone", || {
        host.resolver.network("shop/blue").is_none().then_some(())
    });
    Call::add("c2", &other, &config).run(&host).fails(7, &["shop/blue"]);
    Call::check("c1", &pod, &config, &result).run(&host).quiet();
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
    // Made anew, it starts from nothing.
    host.resolver.write_manifest("01.yaml", &network("shop/blue", &json!({})));
    host.resolver.wait_ready("shop/blue");
    Call::add("c2", &other, &config).run(&host).result();
    Call::del("c2", &other, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_resolver_that_has_lost_everything_does_not_matter() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.resolver.stop();
    std::fs::remove_file(host.folder().join("resolver/state.redb")).unwrap();
    host.resolver.start();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn the_callers_prev_result_does_not_replace_the_ledgers() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", "1.0.0");
    let result = Call::add("c1", &pod, &config).run(&host).result();
    config["prevResult"] = json!({ "cniVersion": "1.0.0", "interfaces": [], "ips": [], "dns": {} });
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.delegates.the("DEL third").stdin["prevResult"], result);
}
