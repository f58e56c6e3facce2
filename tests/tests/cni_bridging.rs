//! Between a caller and a delegate of different CNI versions.

use knap_tests::{Action, Call, Host, Script, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

/// ADD and DEL by a chain whose second delegate knows just these versions; its two calls.
fn through(host: &Host, versions: &[&str], caller: &str) -> (Value, Value, Value) {
    host.delegates.install_as("second", &Script::versions(versions));
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", caller);
    let result = Call::add("c1", &pod, &config).run(host).result();
    Call::del("c1", &pod, &config).run(host).quiet();
    let add = host.delegates.the("ADD second").stdin;
    (result, add, host.delegates.the("DEL second").stdin)
}

fn has_ip_versions(result: &Value) -> bool {
    let ips = result["ips"].as_array().unwrap();
    assert!(!ips.is_empty(), "{result}");
    ips.iter().all(|ip| ip.get("version").is_some())
}

#[rstest]
#[case::same(&["0.3.1", "0.4.0", "1.0.0", "1.1.0"], "1.0.0", "1.0.0")]
#[case::highest_below(&["0.3.0", "0.3.1", "0.4.0"], "1.1.0", "0.4.0")]
#[case::highest_below_among_newer(&["0.3.1", "1.1.0"], "1.0.0", "0.3.1")]
#[case::lowest_above(&["1.0.0", "1.1.0"], "0.3.1", "1.0.0")]
#[case::only_above(&["1.1.0"], "0.4.0", "1.1.0")]
#[case::with_unheard_of(&["1.0.0", "2.0.0"], "1.1.0", "1.0.0")]
#[case::unsorted(&["1.0.0", "0.3.1", "0.4.0"], "0.4.0", "0.4.0")]
fn a_delegate_gets_a_version_that_it_knows(
    #[case] versions: &[&str],
    #[case] caller: &str,
    #[case] given: &str,
) {
    let host = Host::recorded();
    let (result, add, del) = through(&host, versions, caller);
    let expects_versions = matches!(given, "0.3.1" | "0.4.0");
    for config in [&add, &del] {
        assert_eq!(config["cniVersion"], json!(given));
        assert_eq!(config["prevResult"]["cniVersion"], json!(given));
        assert_eq!(has_ip_versions(&config["prevResult"]), expects_versions, "{config}");
    }
    assert_eq!(result["cniVersion"], json!(caller));
    assert_eq!(has_ip_versions(&result), matches!(caller, "0.3.1" | "0.4.0"), "{result}");
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn between_any_two_versions_the_addresses_survive(
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] caller: &str,
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] delegate: &str,
) {
    let host = Host::recorded();
    let (result, add, _) = through(&host, &[delegate], caller);
    assert_eq!(add["cniVersion"], json!(delegate));
    assert_eq!(result["cniVersion"], json!(caller));
    assert_eq!(add["prevResult"]["ips"][0]["address"], result["ips"][0]["address"]);
    assert_eq!(add["prevResult"]["interfaces"], result["interfaces"]);
    let third = host.delegates.the("ADD third").stdin;
    assert_eq!(third["cniVersion"], json!(caller), "the next one knows the caller's version");
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::v0_3_1("0.3.1", false)]
#[case::v0_4_0("0.4.0", false)]
#[case::v1_0_0("1.0.0", true)]
#[case::v1_1_0("1.1.0", true)]
fn what_an_older_version_does_not_have_is_dropped(#[case] caller: &str, #[case] kept: bool) {
    let host = Host::recorded();
    let newest = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "net1", "mac": "02:00:00:00:00:09", "sandbox": "/x", "mtu": 1400,
                         "socketPath": "/run/vhost.sock", "pciID": "0000:03:02.1" }],
        "ips": [{ "address": "10.9.9.9/24", "interface": 0 }, { "address": "fd00::9/64", "interface": 0 }],
        "routes": [{ "dst": "0.0.0.0/0", "mtu": 1400 }], "dns": {},
    });
    let script = Script::versions(&["1.1.0"]).on("ADD", &[Action::Result(newest)]);
    host.delegates.install_as("third", &script);
    let pod = host.pod("web-0");
    let result = Call::add("c1", &pod, &thin_config("shop/blue", caller)).run(&host).result();
    let interface = &result["interfaces"][0];
    for key in ["mtu", "socketPath", "pciID"] {
        assert_eq!(interface.get(key).is_some(), kept, "{key} in {result}");
    }
    assert_eq!(interface["name"], json!("net1"));
    if caller.starts_with('0') {
        assert_eq!((&result["ips"][0]["version"], &result["ips"][1]["version"]), (&json!("4"), &json!("6")));
    }
}

#[test]
fn a_delegate_is_asked_for_its_versions_once() {
    let host = Host::recorded();
    for container in ["c1", "c2", "c3"] {
        let pod = host.pod(container);
        Call::add(container, &pod, &thin_config("shop/blue", "1.0.0")).run(&host).result();
        Call::del(container, &pod, &thin_config("shop/blue", "1.0.0")).run(&host).quiet();
    }
    let asked = host.delegates.all_calls().into_iter().filter(|call| call.command == "VERSION").count();
    assert_eq!(asked, 3, "once for each of three delegates");
}

#[test]
fn a_delegate_that_was_replaced_is_asked_again() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.uninstall("second");
    host.delegates.install_as("second", &Script::versions(&["0.3.1"]));
    host.delegates.forget();
    let other = host.pod("web-1");
    Call::add("c2", &other, &config).run(&host).result();
    assert_eq!(host.delegates.the("ADD second").text("/cniVersion"), Some("0.3.1"));
}

#[test]
fn one_that_knows_no_version_of_ours_is_refused_before_it_runs() {
    let host = Host::recorded();
    host.delegates.install_as("second", &Script::versions(&["0.1.0", "7.0.0"]));
    let pod = host.pod("web-0");
    let error = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).error();
    assert!(error.msg.contains("second"), "{error:?}");
    assert!(!host.delegates.steps().contains(&"ADD second".to_owned()), "{:?}", host.delegates.steps());
    host.assert_nothing_left("shop/blue");
}
