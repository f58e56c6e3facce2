//! Knap as an IPAM plugin: called by a delegate, it answers from its standard input.

use knap_tests::{Action, Answer, Call, Host, Script, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

fn config(version: &str) -> Value {
    json!({
        "cniVersion": version, "name": "shop.blue", "type": "bridge",
        "ipam": {
            "type": "knap",
            "addresses": [
                { "address": "10.64.7.5/24", "gateway": "10.64.7.1" },
                { "address": "fd00:64:7::5/64" },
            ],
            "routes": [{ "dst": "172.16.0.0/12", "gw": "10.64.7.1" }, { "dst": "0.0.0.0/0" }],
            "dns": { "nameservers": ["10.64.7.53"], "domain": "shop.test", "search": ["shop.test"] },
        },
    })
}

/// A host without resolver, token or node file: none may be needed.
fn bare_host() -> Host {
    let host = Host::new();
    std::fs::remove_file(host.node_file()).unwrap();
    host
}

/// Runs it as a delegate does; the namespace need not be there yet.
fn run(host: &Host, command: &str, config: &Value, args: &str) -> Answer {
    let call = Call::new(command, "c1", config).env("CNI_NETNS", "/run/netns/somewhere").args(args);
    let answer = call.run(host);
    assert!(!host.ledger.folder().exists(), "it keeps no ledger");
    answer
}

#[rstest]
#[case::v0_3_1("0.3.1", true)]
#[case::v0_4_0("0.4.0", true)]
#[case::v1_0_0("1.0.0", false)]
#[case::v1_1_0("1.1.0", false)]
fn add_answers_the_addresses_routes_and_dns_given(#[case] version: &str, #[case] ips_have_versions: bool) {
    let host = bare_host();
    let result = run(&host, "ADD", &config(version), "").result();
    assert_eq!(result["cniVersion"], json!(version));
    let ips = result["ips"].as_array().unwrap();
    assert_eq!(ips.len(), 2);
    assert_eq!((&ips[0]["address"], &ips[0]["gateway"]), (&json!("10.64.7.5/24"), &json!("10.64.7.1")));
    assert_eq!(ips[1]["address"], json!("fd00:64:7::5/64"));
    assert!(ips[1].get("gateway").is_none());
    let versions: Vec<Option<&str>> = ips.iter().map(|ip| ip["version"].as_str()).collect();
    assert_eq!(versions, if ips_have_versions { [Some("4"), Some("6")] } else { [None, None] });
    assert!(ips.iter().all(|ip| ip.get("interface").is_none()), "{result}");
    let routes = result["routes"].as_array().unwrap();
    assert_eq!((&routes[0]["dst"], &routes[0]["gw"]), (&json!("172.16.0.0/12"), &json!("10.64.7.1")));
    assert_eq!(routes[1]["dst"], json!("0.0.0.0/0"));
    assert_eq!(result["dns"], config(version)["ipam"]["dns"]);
}

#[rstest]
fn del_and_check_are_quiet(
    #[values("0.4.0", "1.0.0", "1.1.0")] version: &str,
    #[values("DEL", "CHECK")] command: &str,
) {
    let host = bare_host();
    let mut config = config(version);
    config["prevResult"] = run(&host, "ADD", &config, "").result();
    run(&host, command, &config, "").quiet();
}

#[test]
fn del_is_quiet_at_the_oldest_version_too() {
    run(&bare_host(), "DEL", &config("0.3.1"), "").quiet();
}

#[rstest]
fn gc_and_status_are_quiet(#[values("GC", "STATUS")] command: &str) {
    let mut config = config("1.1.0");
    config["cni.dev/valid-attachments"] = json!([]);
    run(&bare_host(), command, &config, "").quiet();
}

#[rstest]
#[case::capability(json!({ "runtimeConfig": { "ips": ["10.64.7.77/24"] } }), "")]
#[case::args(json!({ "args": { "cni": { "ips": ["10.64.7.77/24"] } } }), "")]
#[case::variable(json!({}), "IgnoreUnknown=true;IP=10.64.7.77/24")]
fn a_request_that_slipped_through_changes_nothing_of_what_is_leased(#[case] more: Value, #[case] args: &str) {
    let mut asking = config("1.0.0");
    asking.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let host = bare_host();
    let (asked, plain) = (run(&host, "ADD", &asking, args), run(&host, "ADD", &config("1.0.0"), ""));
    assert_eq!(asked.result(), plain.result());
}

#[rstest]
#[case::no_address("ten")]
#[case::no_prefix_length("10.64.7.5/99")]
fn a_bad_address_is_named(#[case] address: &str) {
    let mut config = config("1.0.0");
    config["ipam"]["addresses"] = json!([{ "address": address }]);
    run(&bare_host(), "ADD", &config, "").fails(7, &[address]);
}

#[test]
fn a_configuration_of_type_knap_is_no_ipam_call() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", "1.0.0");
    config["ipam"] = json!({ "type": "knap", "addresses": [{ "address": "192.0.2.1/24" }] });
    let answer = Call::add("c1", &pod, &config).run(&host);
    assert!(answer.addresses()[0].starts_with("10.64."), "{answer:?}");
    assert_eq!(host.delegates.steps().len(), 3);
}

#[rstest]
fn in_a_chain_the_delegate_asks_us_back(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = Host::recorded();
    let script = ["ADD", "DEL", "CHECK"]
        .iter()
        .fold(Script::default(), |script, command| script.on(command, &[Action::DelegateIpam]));
    host.delegates.install_as("first", &script);
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", version);
    let answer = Call::add("c1", &pod, &config).run(&host);
    assert_eq!(answer.addresses(), host.resolver.attachments("shop/blue")[0].addresses);
    if version != "0.3.1" {
        Call::check("c1", &pod, &config, &answer.result()).run(&host).quiet();
    }
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}
