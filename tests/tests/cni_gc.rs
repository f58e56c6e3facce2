//! GC: what is in the list stays, the rest of this network goes.

use std::collections::BTreeSet;

use knap_tests::{Action, Call, Host, Sandbox, Script, eventually, network, recorded_class, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

/// Attaches c1, c2 and c3 to `shop/blue`.
fn three_attached() -> (Host, Vec<Sandbox>, Value) {
    let host = Host::recorded();
    let config = thin_config("shop/blue", "1.1.0");
    let mut pods = Vec::new();
    for container in ["c1", "c2", "c3"] {
        let pod = host.pod(container);
        Call::add(container, &pod, &config).run(&host).result();
        pods.push(pod);
    }
    host.delegates.forget();
    (host, pods, config)
}

fn pair(container: &str) -> Value {
    json!({ "containerID": container, "ifname": "net1" })
}

/// Containers of which delegates were told DEL, in order, each once.
fn deleted(host: &Host) -> BTreeSet<String> {
    let calls = host.delegates.calls().into_iter();
    calls.filter(|call| call.command == "DEL").map(|call| call.env("CNI_CONTAINERID").to_owned()).collect()
}

#[rstest]
#[case::of_the_specification("cni.dev/valid-attachments")]
#[case::of_its_library("cni.dev/attachments")]
fn what_is_not_listed_goes(#[case] key: &str) {
    let (host, _pods, mut config) = three_attached();
    config[key] = json!([pair("c2")]);
    Call::without_attachment("GC", &config).run(&host).quiet();
    assert_eq!(host.ledger.entries(), ["c2@net1.json"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    assert_eq!(deleted(&host), BTreeSet::from(["c1".into(), "c3".into()]));
    let dels: Vec<String> =
        host.delegates.steps().into_iter().filter(|step| step.starts_with("DEL")).collect();
    let reverse = ["DEL third", "DEL second", "DEL first"];
    assert_eq!(dels, [reverse, reverse].concat());
}

#[rstest]
#[case::missing(json!({}))]
#[case::null(json!({ "cni.dev/valid-attachments": null }))]
#[case::both_null(json!({ "cni.dev/valid-attachments": null, "cni.dev/attachments": null }))]
fn no_list_is_not_an_empty_list(#[case] keys: Value) {
    let (host, _pods, mut config) = three_attached();
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    Call::without_attachment("GC", &config).run(&host).quiet();
    assert_eq!(host.ledger.entries().len(), 3);
    assert_eq!(host.resolver.leases("shop/blue").len(), 3);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[rstest]
#[case::a_text(json!("c2"))]
#[case::an_object(json!({}))]
#[case::of_texts(json!(["c2"]))]
fn a_list_that_is_none_removes_nothing(#[case] list: Value) {
    let (host, _pods, mut config) = three_attached();
    config["cni.dev/valid-attachments"] = list;
    // Whether it is refused or ignored, nothing may go.
    Call::without_attachment("GC", &config).run(&host);
    assert_eq!(host.ledger.entries().len(), 3);
    assert_eq!(host.resolver.leases("shop/blue").len(), 3);
}

#[test]
fn of_two_lists_the_union_stays() {
    let (host, _pods, mut config) = three_attached();
    config["cni.dev/valid-attachments"] = json!([pair("c1")]);
    config["cni.dev/attachments"] = json!([pair("c3")]);
    Call::without_attachment("GC", &config).run(&host).quiet();
    assert_eq!(host.ledger.entries(), ["c1@net1.json", "c3@net1.json"]);
}

#[test]
fn one_list_beside_a_null_counts() {
    let (host, _pods, mut config) = three_attached();
    config["cni.dev/valid-attachments"] = Value::Null;
    config["cni.dev/attachments"] = json!([pair("c3")]);
    Call::without_attachment("GC", &config).run(&host).quiet();
    assert_eq!(host.ledger.entries(), ["c3@net1.json"]);
}

#[test]
fn an_interface_name_is_part_of_what_stays() {
    let (host, _pods, mut config) = three_attached();
    config["cni.dev/valid-attachments"] =
        json!([{ "containerID": "c1", "ifname": "net2" }, pair("c2"), pair("c3")]);
    Call::without_attachment("GC", &config).run(&host).quiet();
    assert_eq!(host.ledger.entries(), ["c2@net1.json", "c3@net1.json"]);
}

#[test]
fn an_empty_list_removes_all_of_this_network_and_nothing_of_others() {
    let manifests =
        [recorded_class(&["first"]), network("shop/blue", &json!({})), network("shop/red", &json!({}))];
    let host = Host::start(&manifests, &["first"]);
    host.resolver.wait_ready("shop/blue");
    host.resolver.wait_ready("shop/red");
    let pod = host.pod("web-0");
    let (blue, red) = (thin_config("shop/blue", "1.1.0"), thin_config("shop/red", "1.1.0"));
    Call::add("c1", &pod, &blue).run(&host).result();
    Call::add("c1", &pod, &red).ifname("net2").run(&host).result();
    Call::gc(&blue, &[]).run(&host).quiet();
    assert_eq!(host.ledger.entries(), ["c1@net2.json"]);
    assert_eq!(host.resolver.leases("shop/blue"), Vec::<String>::new());
    assert_eq!(host.resolver.leases("shop/red").len(), 1);
    Call::gc(&red, &[]).run(&host).quiet();
    host.assert_nothing_left("shop/red");
}

#[test]
fn it_is_forwarded_to_each_distinct_configuration_once() {
    let (host, _pods, config) = three_attached();
    host.delegates.forget();
    Call::gc(&config, &[("c1", "net1"), ("c2", "net1")]).run(&host).quiet();
    let calls = host.delegates.calls();
    let forwarded: Vec<_> = calls.iter().filter(|call| call.command == "GC").collect();
    let mut distinct = BTreeSet::new();
    for call in &forwarded {
        assert!(distinct.insert(call.stdin.to_string()), "twice the same: {call:?}");
        assert_eq!(call.text("/cniVersion"), Some("1.1.0"));
        assert_eq!(call.text("/name"), Some("shop.blue"));
        let kept = call.stdin["cni.dev/valid-attachments"].as_array().unwrap();
        assert_eq!(kept.len(), 2, "{call:?}");
        assert_eq!(call.stdin["cni.dev/attachments"], call.stdin["cni.dev/valid-attachments"]);
    }
    let asked: BTreeSet<&str> = forwarded.iter().map(|call| call.delegate.as_str()).collect();
    assert_eq!(asked, BTreeSet::from(["first", "second", "third"]));
    // DEL comes first: a delegate's GC sees what is left.
    let first_gc = calls.iter().position(|call| call.command == "GC").unwrap();
    assert!(calls.iter().skip(first_gc).all(|call| call.command == "GC"), "{:?}", host.delegates.steps());
}

#[test]
fn a_delegate_of_an_older_version_is_not_asked() {
    let host = Host::recorded();
    host.delegates.install_as("second", &Script::versions(&["0.4.0", "1.0.0"]));
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.1.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    Call::gc(&config, &[("c1", "net1")]).run(&host).quiet();
    let asked: BTreeSet<String> = host.delegates.steps().into_iter().collect();
    assert_eq!(asked, BTreeSet::from(["GC first".into(), "GC third".into()]));
    assert_eq!(host.ledger.entries(), ["c1@net1.json"]);
}

#[test]
fn a_delegate_that_does_not_know_it_is_no_error() {
    let (host, _pods, config) = three_attached();
    let unknown = Action::Error(4, "unknown CNI_COMMAND: GC".into());
    host.delegates.install_as("second", &Script::default().on("GC", &[unknown]));
    Call::gc(&config, &[]).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn errors_do_not_stop_it_and_are_all_reported() {
    let (host, _pods, config) = three_attached();
    host.delegates
        .install_as("third", &Script::default().on("GC", &[Action::Error(111, "a dusty room".into())]));
    let stuck = [Action::Error(117, "the cable is stuck".into()), Action::Succeed];
    host.delegates.install_as("second", &Script::default().on("DEL", &stuck));
    let error = Call::gc(&config, &[]).run(&host).error();
    let all = format!("{} {}", error.msg, error.details);
    assert!(all.contains("the cable is stuck") && all.contains("a dusty room"), "{error:?}");
    assert_eq!(deleted(&host).len(), 3, "all three were tried");
    assert_eq!((host.ledger.entries().len(), host.resolver.leases("shop/blue").len()), (1, 1));
    host.delegates.install("third");
    Call::gc(&config, &[]).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn disable_gc_removes_nothing(#[values(json!(true), json!("true"))] disabled: Value) {
    let (host, _pods, mut config) = three_attached();
    config["disableGC"] = disabled;
    Call::gc(&config, &[]).run(&host).quiet();
    assert_eq!(host.ledger.entries().len(), 3);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[test]
fn with_the_resolver_down_it_leaves_tombstones() {
    let (host, _pods, config) = three_attached();
    host.resolver.stop();
    Call::gc(&config, &[]).run(&host).quiet();
    assert_eq!((host.ledger.entries().len(), host.ledger.tombstones().len()), (0, 3));
    host.resolver.start();
    eventually("another sends them", || {
        Call::gc(&config, &[]).run(&host).quiet();
        host.ledger.tombstones().is_empty().then_some(())
    });
    host.assert_nothing_left("shop/blue");
}
