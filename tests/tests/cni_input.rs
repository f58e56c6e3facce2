//! What a caller can get wrong: standard input, variables, namespaces, the node file.

use std::path::Path;

use knap_tests::{Call, Host, Wire, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

/// Nobody was asked for anything.
fn assert_untouched(host: &Host, wire: &Wire) {
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert_eq!(wire.methods(), Vec::<String>::new());
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
}

#[rstest]
fn undecodable_input_has_its_code(
    #[values("ADD", "DEL", "CHECK", "GC", "STATUS")] command: &str,
    #[values("", "{", "\"blue\"", "[]", "null", "{\"cniVersion\": 1}", "\u{0}", "{} {}")] stdin: &str,
) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let call = Call::new(command, "c1", &Value::Null).netns(pod.path()).stdin(stdin.as_bytes());
    call.run(&host).fails(6, &[]);
    assert_untouched(&host, &wire);
}

#[test]
fn input_that_is_no_utf8_has_its_code() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    Call::add("c1", &pod, &Value::Null).stdin(b"{\"name\": \"\xff\xfe\"}").run(&host).fails(6, &[]);
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn a_bad_container_id_is_refused(
    #[values("-c1", ".c1", "c/1", "../c1", "c 1", "c@1", "ö")] container: &str,
    #[values("ADD", "DEL", "CHECK")] command: &str,
) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let call = Call::new(command, container, &thin_config("shop/blue", "1.0.0")).netns(pod.path());
    call.run(&host).fails(4, &["CNI_CONTAINERID", container]);
    assert_untouched(&host, &wire);
}

#[rstest]
fn a_bad_interface_name_is_refused(
    #[values(".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-letters-")] ifname: &str,
    #[values("ADD", "DEL", "CHECK")] command: &str,
) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let call = Call::new(command, "c1", &thin_config("shop/blue", "1.0.0")).netns(pod.path()).ifname(ifname);
    call.run(&host).fails(4, &["CNI_IFNAME"]);
    assert_untouched(&host, &wire);
}

#[rstest]
#[case::add("ADD", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"])]
#[case::check("CHECK", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"])]
#[case::del("DEL", &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"])]
#[case::gc("GC", &["CNI_PATH"])]
#[case::status("STATUS", &["CNI_PATH"])]
fn a_missing_variable_is_named(#[case] command: &str, #[case] needed: &[&str]) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let call = Call::new(command, "c1", &thin_config("shop/blue", "1.1.0")).netns(pod.path());
    for variable in needed {
        // Callers set unused variables to the empty string: empty is unset.
        call.clone().env(variable, "").run(&host).fails(4, &[variable]);
        let output = call.command(&host).env_remove(variable).output().unwrap();
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(error["code"], json!(4), "{error}");
        assert!(error["msg"].as_str().unwrap().contains(variable), "{error}");
    }
    assert_untouched(&host, &wire);
}

#[rstest]
#[case::missing(Value::Null)]
#[case::empty(json!(""))]
#[case::slash(json!("shop/blue"))]
#[case::first_letter(json!("-blue"))]
fn a_bad_name_is_refused(#[case] name: Value) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", "1.0.0");
    config["name"] = name.clone();
    if name.is_null() {
        config.as_object_mut().unwrap().remove("name");
    }
    Call::add("c1", &pod, &config).run(&host).fails(7, &["name"]);
    assert_untouched(&host, &wire);
}

#[rstest]
#[case::missing(None, "network")]
#[case::no_namespace(Some("blue"), "blue")]
#[case::empty(Some(""), "network")]
#[case::upper_case(Some("Shop/blue"), "Shop/blue")]
#[case::dots(Some("shop/blue.x"), "shop/blue.x")]
#[case::path(Some("shop/../../etc"), "shop/../../etc")]
fn a_bad_network_is_refused(#[case] network: Option<&str>, #[case] word: &str) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", "1.0.0");
    match network {
        Some(network) => config["network"] = json!(network),
        None => drop(config.as_object_mut().unwrap().remove("network")),
    }
    Call::add("c1", &pod, &config).run(&host).fails(7, &[word]);
    assert_untouched(&host, &wire);
}

#[rstest]
#[case::missing("/run/netns/not-there")]
#[case::a_file("/etc/passwd")]
#[case::a_folder("/etc")]
#[case::another_kind_of_namespace("/proc/self/ns/uts")]
#[case::our_own("/proc/self/ns/net")]
fn a_wrong_namespace_is_refused_before_any_side_effect(#[case] netns: &str) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let call = Call::new("ADD", "c1", &thin_config("shop/blue", "1.0.0")).netns(Path::new(netns));
    call.run(&host).fails(8, &[netns]);
    assert_untouched(&host, &wire);
}

#[test]
fn the_machines_own_namespace_is_refused_under_any_path() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let call = Call::add("c1", host.machine(), &thin_config("shop/blue", "1.0.0"));
    call.run(&host).fails(8, &[host.machine().path().to_str().unwrap()]);
    assert_untouched(&host, &wire);
}

#[rstest]
fn an_interface_that_is_there_already_is_left_alone(
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    pod.add_interface("net1");
    Call::add("c1", &pod, &thin_config("shop/blue", version)).run(&host).fails(5, &["net1"]);
    assert_eq!(pod.interfaces(), ["net1"]);
    assert_untouched(&host, &wire);
}

#[rstest]
#[case::no_json("{")]
#[case::no_node(r#"{"resolver": {"endpoints": ["http://127.0.0.1:4180"], "tokenFile": "/t"}}"#)]
#[case::http_beyond_loopback(
    r#"{"node": "n1", "resolver": {"endpoints": ["http://192.0.2.1:80"], "tokenFile": "/t"}}"#
)]
#[case::no_endpoint(r#"{"node": "n1", "resolver": {"endpoints": [], "tokenFile": "/t"}}"#)]
#[case::no_url(r#"{"node": "n1", "resolver": {"endpoints": ["resolver"], "tokenFile": "/t"}}"#)]
fn a_bad_node_file_is_named(#[case] text: &str) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    // The ledger stays the test's, or a file accepted by mistake would have this machine's.
    let state_dir = json!(host.ledger.folder()).to_string();
    let text =
        text.strip_suffix('}').map_or(text.to_owned(), |open| format!("{open}, \"stateDir\": {state_dir}}}"));
    std::fs::write(host.node_file(), text).unwrap();
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host);
    let error = answer.error();
    assert!(error.msg.contains(host.node_file().to_str().unwrap()), "{error:?}");
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
}

#[test]
fn a_missing_node_file_is_named() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    std::fs::remove_file(host.node_file()).unwrap();
    let error = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).error();
    assert!(error.msg.contains(host.node_file().to_str().unwrap()), "{error:?}");
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[test]
fn a_networks_configuration_can_name_no_node_file() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", "1.0.0");
    for key in ["config", "nodeFile", "KNAP_CONFIG", "stateDir", "resolver", "kubeconfig"] {
        config[key] = json!("/nonexistent");
    }
    Call::add("c1", &pod, &config).run(&host).result();
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}
