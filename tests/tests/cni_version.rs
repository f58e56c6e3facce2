//! VERSION, the choice of a version, and calls that are no CNI calls.

use knap_tests::{ALL_VERSIONS, Call, Host, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

#[rstest]
fn version_echoes_what_was_asked(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = Host::new();
    let answer = Call::without_attachment("VERSION", &json!({ "cniVersion": version })).run(&host).result();
    assert_eq!(answer["cniVersion"], json!(version));
    assert_eq!(answer["supportedVersions"], json!(ALL_VERSIONS));
}

#[rstest]
#[case::empty(b"")]
#[case::white_space(b" \n")]
#[case::a_version_of_the_future(b"{\"cniVersion\": \"9.9.9\"}")]
#[case::no_version(b"{}")]
fn version_answers_in_a_version_of_its_own(#[case] stdin: &[u8]) {
    let host = Host::new();
    let answer = Call::without_attachment("VERSION", &Value::Null).stdin(stdin).run(&host).result();
    let version = answer["cniVersion"].as_str().unwrap();
    assert!(ALL_VERSIONS.contains(&version), "{answer}");
    assert_eq!(answer["supportedVersions"], json!(ALL_VERSIONS));
}

#[test]
fn version_needs_neither_node_file_nor_resolver_nor_ledger() {
    let host = Host::new();
    std::fs::remove_file(host.node_file()).unwrap();
    let call = Call::without_attachment("VERSION", &json!({ "cniVersion": "1.0.0" })).without("CNI_PATH");
    assert_eq!(call.run(&host).result()["cniVersion"], json!("1.0.0"));
    assert!(!host.ledger.folder().exists());
}

#[test]
fn without_a_command_it_says_what_it_is() {
    let host = Host::new();
    let answer = Call::without_attachment("", &Value::Null).without("CNI_COMMAND").stdin(b"").run(&host);
    answer.quiet();
    assert!(answer.stderr.contains("knap") && answer.stderr.contains("CNI"), "{answer:?}");
    // Empty means unset.
    Call::without_attachment("", &Value::Null).stdin(b"").run(&host).quiet();
}

#[test]
fn an_unknown_command_names_the_variable() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let call = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).env("CNI_COMMAND", "ATTACH");
    call.run(&host).fails(4, &["CNI_COMMAND", "ATTACH"]);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn a_version_that_is_not_served_is_refused_before_anything_is_done(
    #[values("0.1.0", "0.2.0", "0.5.0", "1.2.0", "2.0.0", "new")] version: &str,
    #[values("ADD", "DEL", "CHECK", "GC", "STATUS")] command: &str,
) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let call = Call::new(command, "c1", &thin_config("shop/blue", version)).netns(pod.path());
    let error = call.run(&host).fails(1, &[version]);
    assert!(ALL_VERSIONS.contains(&error.cni_version.as_str()), "{error:?}");
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::gc_0_3_1("GC", "0.3.1")]
#[case::gc_0_4_0("GC", "0.4.0")]
#[case::gc_1_0_0("GC", "1.0.0")]
#[case::status_0_3_1("STATUS", "0.3.1")]
#[case::status_0_4_0("STATUS", "0.4.0")]
#[case::status_1_0_0("STATUS", "1.0.0")]
#[case::check_0_3_1("CHECK", "0.3.1")]
fn a_command_that_the_version_does_not_have_is_refused(#[case] command: &str, #[case] version: &str) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", version);
    let result = Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    config["cni.dev/valid-attachments"] = json!([]);
    config["prevResult"] = result;
    let error = Call::new(command, "c1", &config).netns(pod.path()).run(&host).fails(1, &[command, version]);
    assert_eq!(error.cni_version, version);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
}

#[rstest]
#[case::list_has_a_higher_one("0.4.0", &["0.3.1", "1.0.0", "1.1.0"], "1.1.0")]
#[case::list_has_one_of_the_future("0.4.0", &["0.4.0", "1.0.0", "9.0.0"], "1.0.0")]
#[case::list_is_lower("1.0.0", &["0.3.1", "0.4.0"], "1.0.0")]
#[case::only_the_list_is_served("0.2.0", &["0.3.1"], "0.3.1")]
fn the_highest_version_of_both_keys_is_taken(
    #[case] version: &str,
    #[case] versions: &[&str],
    #[case] taken: &str,
) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", version);
    config["cniVersions"] = json!(versions);
    let result = Call::add("c1", &pod, &config).run(&host).result();
    assert_eq!(result["cniVersion"], json!(taken));
    assert_eq!(host.delegates.the("ADD first").text("/cniVersion"), Some(taken));
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}
