//! ADD over what is there already, and beside other calls for the same attachment.

use knap_tests::{Action, Call, Host, Script, eventually, network, recorded_class, thin_config};
use rstest::rstest;
use serde_json::json;

/// Serves `shop/blue` with two addresses.
fn two_addresses() -> Host {
    let blue = network("shop/blue", &json!({ "subnets": ["10.99.7.0/30"] }));
    let host = Host::start(&[recorded_class(&["first"]), blue], &["first"]);
    host.resolver.wait_ready("shop/blue");
    host
}

#[rstest]
fn over_an_attachment_whose_interface_is_there_it_fails_and_undoes_nothing(
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", version);
    Call::add("c1", &pod, &config).run(&host).result();
    pod.add_interface("net1");
    let (before, leases) = (host.ledger.entry("c1", "net1"), host.resolver.leases("shop/blue"));
    host.delegates.forget();
    Call::add("c1", &pod, &config).run(&host).fails(5, &["net1"]);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert_eq!(host.ledger.entry("c1", "net1"), before);
    assert_eq!(host.resolver.leases("shop/blue"), leases);
    assert_eq!(pod.interfaces(), ["net1"]);
}

#[test]
fn over_an_attachment_whose_interface_is_gone_it_undoes_that_first() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    let first_attempt = host.ledger.entry("c1", "net1").unwrap()["attempt"].clone();
    Call::add("c1", &pod, &config).run(&host).result();
    let steps = host.delegates.steps();
    assert_eq!(steps[3..6], ["DEL third", "DEL second", "DEL first"], "{steps:?}");
    assert_eq!(steps[6..], ["ADD first", "ADD second", "ADD third"], "{steps:?}");
    assert_ne!(host.ledger.entry("c1", "net1").unwrap()["attempt"], first_attempt);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn over_one_whose_namespace_is_nowhere_to_be_seen_it_undoes_that_first() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    // As runtimes without named namespaces have it, whose containers keep their ID over a restart.
    let mut entry = host.ledger.entry("c1", "net1").unwrap();
    entry["netns"]["path"] = json!("/proc/4194305/ns/net");
    std::fs::write(host.ledger.entry_file("c1", "net1"), entry.to_string()).unwrap();
    Call::add("c1", &pod, &config).run(&host).result();
    assert_eq!(host.delegates.steps()[3..6], ["DEL third", "DEL second", "DEL first"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn over_an_interrupted_one_it_undoes_that_first() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).fault_at("add.delegate-ran", 2).run(&host).killed();
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("adding"));
    Call::add("c1", &pod, &config).run(&host).result();
    let steps = host.delegates.steps();
    let undone: Vec<&String> = steps.iter().filter(|step| step.starts_with("DEL")).collect();
    assert!(undone.ends_with(&[&"DEL second".to_owned(), &"DEL first".to_owned()]), "{steps:?}");
    assert!(steps.ends_with(&["ADD first".into(), "ADD second".into(), "ADD third".into()]), "{steps:?}");
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_dead_sandbox_of_the_same_pod_does_not_keep_its_address() {
    // Two addresses, both held by sandboxes of one pod that is restarted.
    let host = two_addresses();
    let config = thin_config("shop/blue", "1.0.0");
    let mut pods = Vec::new();
    for container in ["c1", "c2"] {
        let pod = host.pod(container);
        Call::add(container, &pod, &config).pod("shop", "web-0", "u-1").run(&host).result();
        pods.push(pod);
    }
    let another = host.pod("another");
    Call::add("c9", &another, &config).pod("shop", "web-9", "u-9").run(&host).fails(11, &["shop/blue"]);
    pods.remove(0).remove();
    // Dead, but somebody else's: not this ADD's to reap.
    Call::add("c9", &another, &config).pod("shop", "web-9", "u-9").run(&host).fails(11, &["shop/blue"]);
    let again = host.pod("again");
    Call::add("c3", &again, &config).pod("shop", "web-0", "u-1").run(&host).result();
    assert_eq!(host.ledger.entries(), ["c2@net1.json", "c3@net1.json"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 2);
}

#[test]
fn two_calls_for_one_attachment_run_one_after_the_other() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    let gate = host.folder().join("gate");
    host.delegates.install_as("second", &Script::default().on("ADD", &[Action::AwaitFile(gate.clone())]));
    let mut add = Call::add("c1", &pod, &config).spawn(&host);
    eventually("the second delegate runs", || (host.delegates.steps().len() == 2).then_some(()));
    let mut del = Call::del("c1", &pod, &config).spawn(&host);
    // Another attachment goes on meanwhile.
    Call::del("c2", &pod, &config).run(&host).quiet();
    assert!(del.try_wait().unwrap().is_none(), "DEL did not wait for the running ADD");
    std::fs::write(&gate, "").unwrap();
    assert!(add.wait().unwrap().success());
    assert!(del.wait().unwrap().success());
    let steps = ["ADD first", "ADD second", "ADD third", "DEL third", "DEL second", "DEL first"];
    assert_eq!(host.delegates.steps(), steps);
    host.assert_nothing_left("shop/blue");
}
