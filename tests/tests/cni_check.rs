//! CHECK: delegates in order, nobody else asked.

use knap_tests::{Action, Call, Host, Sandbox, Script, Wire, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

fn attached(version: &str) -> (Host, Sandbox, Value, Value) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", version);
    let result = Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    (host, pod, config, result)
}

#[rstest]
fn delegates_are_asked_in_order_with_the_callers_result(#[values("0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let (host, pod, config, mut result) = attached(version);
    // It never asks the resolver, so this may be away.
    host.resolver.stop();
    result["dns"] = json!({ "nameservers": ["192.0.2.53"] });
    Call::check("c1", &pod, &config, &result).run(&host).quiet();
    assert_eq!(host.delegates.steps(), ["CHECK first", "CHECK second", "CHECK third"]);
    for call in host.delegates.calls() {
        assert_eq!(call.stdin["prevResult"], result, "{call:?}");
        assert_eq!(call.text("/cniVersion"), Some(version));
    }
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
}

#[rstest]
fn without_an_entry_it_fails(#[values("0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let (host, pod, config, result) = attached(version);
    Call::check("c2", &pod, &config, &result).run(&host).fails(103, &["c2", "net1"]);
    Call::check("c1", &pod, &config, &result).ifname("net2").run(&host).fails(103, &["c1", "net2"]);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[test]
fn of_an_interrupted_add_it_fails() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).fault_at("add.delegate-ran", 2).run(&host).killed();
    host.delegates.forget();
    let result = json!({ "cniVersion": "1.0.0", "interfaces": [], "ips": [], "dns": {} });
    Call::check("c1", &pod, &config, &result).run(&host).error();
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::first("first", 1)]
#[case::second("second", 2)]
#[case::third("third", 3)]
fn a_delegates_complaint_keeps_its_code_and_names_it(#[case] culprit: &str, #[case] asked: usize) {
    let (host, pod, config, result) = attached("1.0.0");
    let script = Script::default().on("CHECK", &[Action::Error(121, "the cable is loose".into())]);
    host.delegates.install_as(culprit, &script);
    let answer = Call::check("c1", &pod, &config, &result).run(&host);
    answer.fails(121, &[culprit, "the cable is loose"]);
    assert!(host.delegates.steps().len() >= asked);
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
}

#[rstest]
fn disable_check_asks_no_delegate(#[values(json!(true), json!("true"))] disabled: Value) {
    let (host, pod, mut config, result) = attached("1.0.0");
    config["disableCheck"] = disabled;
    Call::check("c1", &pod, &config, &result).run(&host).quiet();
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[rstest]
fn disable_check_off_is_off(#[values(json!(false), json!("false"))] disabled: Value) {
    let (host, pod, mut config, result) = attached("1.0.0");
    config["disableCheck"] = disabled;
    Call::check("c1", &pod, &config, &result).run(&host).quiet();
    assert_eq!(host.delegates.steps().len(), 3);
}

#[test]
fn it_sends_nothing() {
    let (host, pod, config, result) = attached("1.0.0");
    let wire = Wire::tap(&host);
    Call::check("c1", &pod, &config, &result).run(&host).quiet();
    assert_eq!(wire.methods(), Vec::<String>::new());
}
