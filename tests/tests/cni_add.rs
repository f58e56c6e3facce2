//! ADD where all goes well: what delegates are given, what the caller gets, what is kept.

use knap_tests::{
    Action, Call, Host, Script, Wire, eventually, network, recorded_class, recorded_class_on, thin_config,
};
use rstest::rstest;
use serde_json::{Value, json};

/// Serves `shop/blue` by one delegate, with these members in the Network's spec.
fn host_with(spec: &Value) -> Host {
    let host = Host::start(&[recorded_class(&["first"]), network("shop/blue", spec)], &["first"]);
    host.resolver.wait_ready("shop/blue");
    host
}

#[rstest]
fn delegates_run_in_order_each_with_the_result_before_it(
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let result = Call::add("c1", &pod, &thin_config("shop/blue", version)).run(&host).result();
    assert_eq!(host.delegates.steps(), ["ADD first", "ADD second", "ADD third"]);
    let [first, second, third] = &host.delegates.calls()[..] else { panic!("three calls") };
    assert!(first.stdin.get("prevResult").is_none(), "{first:?}");
    for (call, delegate) in [(first, "first"), (second, "second"), (third, "third")] {
        assert_eq!(call.text("/type"), Some(delegate));
        assert_eq!(call.text("/name"), Some("shop.blue"));
        assert_eq!(call.text("/cniVersion"), Some(version));
        assert_eq!(call.env("CNI_COMMAND"), "ADD");
        assert_eq!(call.env("CNI_CONTAINERID"), "c1");
        assert_eq!(call.env("CNI_IFNAME"), "net1");
        assert_eq!(call.env("CNI_NETNS"), pod.path().to_str().unwrap());
        assert_eq!(call.env("CNI_PATH"), host.delegates.bin().to_str().unwrap());
    }
    assert_eq!(second.stdin["prevResult"]["ips"], result["ips"]);
    assert_eq!(third.stdin["prevResult"]["interfaces"], result["interfaces"]);
    Call::del("c1", &pod, &thin_config("shop/blue", version)).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::v0_3_1("0.3.1", true)]
#[case::v0_4_0("0.4.0", true)]
#[case::v1_0_0("1.0.0", false)]
#[case::v1_1_0("1.1.0", false)]
fn the_result_ledger_and_lease_say_the_same(#[case] version: &str, #[case] ips_have_versions: bool) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", version)).run(&host);
    let result = answer.result();
    assert_eq!(result["cniVersion"], json!(version));
    assert_eq!(result["ips"][0].get("version").is_some(), ips_have_versions, "{result}");
    assert_eq!(result["interfaces"][0]["name"], json!("net1"));
    assert_eq!(result["interfaces"][0]["sandbox"], json!(pod.path()));
    let leases = host.resolver.attachments("shop/blue");
    assert_eq!(leases.len(), 1, "{leases:?}");
    assert_eq!(leases[0].addresses, answer.addresses());
    assert!(leases[0].addresses[0].starts_with("10.64."), "{leases:?}");
    assert_eq!(leases[0].mac.as_deref(), result["interfaces"][0]["mac"].as_str());
    assert!(leases[0].mac.as_deref().unwrap().starts_with("0a:"), "{leases:?}");
    assert_eq!((leases[0].node.as_str(), leases[0].key.ifname.as_str()), ("n1", "net1"));
    assert!(leases[0].lease.starts_with("shop.blue-"), "{leases:?}");
    let entry = host.ledger.entry("c1", "net1").unwrap();
    assert_eq!(entry["state"], json!("attached"));
    assert_eq!(entry["leases"], json!([leases[0].lease]));
    host.ledger.assert_private();
}

#[test]
fn only_declared_capabilities_reach_a_delegate_and_unknown_keys_stay() {
    let plugins = json!([
        { "type": "first", "ipam": { "type": "knap" }, "capabilities": { "mac": true, "bandwidth": true }, "odd": [1] },
        { "type": "second", "capabilities": { "portMappings": true, "mac": false } },
        { "type": "third" },
    ]);
    let class = json!({
        "apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": { "name": "test" },
        "spec": { "provider": "cni", "parameters": { "plugins": plugins },
                  "subnets": [{ "cidr": "10.64.0.0/16", "prefixLength": 24 }] },
    });
    let delegates = ["first", "second", "third"];
    let host = Host::start(&[class.to_string(), network("shop/blue", &json!({}))], &delegates);
    host.resolver.wait_ready("shop/blue");
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", "1.0.0");
    config["runtimeConfig"] = json!({
        "bandwidth": { "ingressRate": 1000, "ingressBurst": 1000 },
        "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }],
        "unheardOf": true,
    });
    config["args"] = json!({ "cni": { "labels": [{ "key": "app", "value": "web" }] } });
    Call::add("c1", &pod, &config).run(&host).result();
    let [first, second, third] = &host.delegates.calls()[..] else { panic!("three calls") };
    assert_eq!(first.stdin["runtimeConfig"]["bandwidth"], config["runtimeConfig"]["bandwidth"]);
    assert!(first.text("/runtimeConfig/mac").is_some_and(|mac| mac.starts_with("0a:")), "{first:?}");
    assert_eq!(first.stdin["runtimeConfig"].as_object().unwrap().len(), 2, "{first:?}");
    assert_eq!(first.stdin["odd"], json!([1]));
    assert_eq!(
        second.stdin["runtimeConfig"],
        json!({ "portMappings": config["runtimeConfig"]["portMappings"] })
    );
    assert!(third.stdin["runtimeConfig"].as_object().is_none_or(serde_json::Map::is_empty), "{third:?}");
    for call in [first, second, third] {
        assert!(call.stdin.get("capabilities").is_none(), "{call:?}");
        assert_eq!(call.stdin["args"], config["args"]);
    }
}

#[test]
fn delegates_get_the_callers_environment() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let call = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0"));
    call.env("LANG", "C.UTF-8").pod("shop", "web-0", "u-1").run(&host).result();
    let first = host.delegates.the("ADD first");
    assert_eq!(first.env("LANG"), "C.UTF-8");
    assert!(first.env("CNI_ARGS").contains("K8S_POD_NAME=web-0"), "{first:?}");
}

#[test]
fn a_delegates_complaints_go_to_our_standard_error() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    host.delegates
        .install_as("second", &Script::default().on("ADD", &[Action::Complain("a very odd cable".into())]));
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host);
    answer.result();
    assert!(answer.stderr.contains("a very odd cable"), "{answer:?}");
}

#[test]
fn the_ledger_has_all_that_del_needs_before_the_first_delegate_runs() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let gate = host.folder().join("gate");
    host.delegates.install_as("first", &Script::default().on("ADD", &[Action::AwaitFile(gate.clone())]));
    let mut config = thin_config("shop/blue", "1.0.0");
    config["runtimeConfig"] = json!({ "bandwidth": { "ingressRate": 1000 } });
    let call = Call::add("c1", &pod, &config).pod("shop", "web-0", "u-1");
    let mut running = call.spawn(&host);
    eventually("the first delegate runs", || (!host.delegates.calls().is_empty()).then_some(()));
    let entry = host.ledger.entry("c1", "net1").unwrap();
    assert_eq!(entry["state"], json!("adding"));
    assert_eq!(entry["leases"], json!(host.resolver.leases("shop/blue")));
    assert_eq!(entry["plugins"].as_array().unwrap().len(), 3, "{entry}");
    let text = entry.to_string();
    for word in [
        pod.path().to_str().unwrap(),
        "7a1c6f0e-0000-4000-8000-000000000001",
        "ingressRate",
        "web-0",
        "shop/blue",
    ] {
        assert!(text.contains(word), "{word} is not in {entry}");
    }
    host.ledger.assert_private();
    std::fs::write(&gate, "").unwrap();
    assert!(running.wait().unwrap().success());
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
}

#[test]
fn the_put_says_who_asks() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", "1.0.0");
    config["args"] = json!({ "cni": { "colour": "blue" } });
    Call::add("c1", &pod, &config).pod("shop", "web-0", "u-1").run(&host).result();
    let put = wire.the("PUT");
    assert_eq!(put.path, "/v1/nodes/n1/attachments/c1/net1");
    assert_eq!(put.header("authorization"), Some(format!("Bearer {}", host.resolver.token()).as_str()));
    assert_eq!(put.body["network"], json!("shop/blue"));
    assert_eq!(put.body["bootID"], json!("7a1c6f0e-0000-4000-8000-000000000001"));
    assert_eq!(put.body["pod"], json!({ "namespace": "shop", "name": "web-0", "uid": "u-1" }));
    assert_eq!(put.body["args"], json!({ "colour": "blue" }));
    assert_eq!(put.body["cniVersion"], json!("1.0.0"));
    assert!((1..=10).contains(&put.body["deadlineSeconds"].as_u64().unwrap()), "{put:?}");
    assert_eq!(put.body["attempt"], host.ledger.entry("c1", "net1").unwrap()["attempt"]);
    wire.forget();
    Call::del("c1", &pod, &config).run(&host).quiet();
    let delete = wire.the("DELETE");
    assert!(
        delete.path.contains(&format!("attempt={}", put.body["attempt"].as_str().unwrap())),
        "{delete:?}"
    );
    assert!(delete.path.contains("lease=shop.blue-"), "{delete:?}");
}

#[rstest]
#[case::repeated_last_wins(
    "IgnoreUnknown=true;K8S_POD_NAMESPACE=old;K8S_POD_NAME=old-0;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u-1",
    json!({ "namespace": "shop", "name": "web-0", "uid": "u-1" })
)]
#[case::empty_does_not_win(
    "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u-1;K8S_POD_NAMESPACE=;K8S_POD_NAME=;K8S_POD_UID=",
    json!({ "namespace": "shop", "name": "web-0", "uid": "u-1" })
)]
#[case::no_uid(
    "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=",
    json!({ "namespace": "shop", "name": "web-0" })
)]
#[case::outside_kubernetes("", Value::Null)]
fn the_pod_is_read_from_cni_args(#[case] args: &str, #[case] pod: Value) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let sandbox = host.pod("web-0");
    Call::add("c1", &sandbox, &thin_config("shop/blue", "1.0.0")).args(args).run(&host).result();
    assert_eq!(wire.the("PUT").body.get("pod").cloned().unwrap_or_default(), pod);
    let attachments = host.resolver.attachments("shop/blue");
    assert_eq!(attachments[0].pod.is_some(), !pod.is_null(), "{attachments:?}");
}

#[test]
fn a_pod_can_have_several_interfaces() {
    let red = network("shop/red", &json!({}));
    let manifests = [recorded_class(&["first"]), network("shop/blue", &json!({})), red];
    let host = Host::start(&manifests, &["first"]);
    host.resolver.wait_ready("shop/blue");
    host.resolver.wait_ready("shop/red");
    let pod = host.pod("web-0");
    let (blue, red) = (thin_config("shop/blue", "1.0.0"), thin_config("shop/red", "1.0.0"));
    let one = Call::add("c1", &pod, &blue).run(&host).addresses();
    let two = Call::add("c1", &pod, &blue).ifname("net2").run(&host).addresses();
    let three = Call::add("c1", &pod, &red).ifname("net3").run(&host).addresses();
    assert!(one != two && one != three && two != three);
    assert_eq!(host.ledger.entries(), ["c1@net1.json", "c1@net2.json", "c1@net3.json"]);
    Call::del("c1", &pod, &blue).ifname("net2").run(&host).quiet();
    assert_eq!(host.ledger.entries(), ["c1@net1.json", "c1@net3.json"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    Call::del("c1", &pod, &blue).run(&host).quiet();
    Call::del("c1", &pod, &red).ifname("net3").run(&host).quiet();
    host.assert_nothing_left("shop/blue");
    host.assert_nothing_left("shop/red");
}

#[rstest]
fn routes_and_name_servers_arrive_with_the_addresses(
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = host_with(&json!({
        "subnets": ["10.99.7.0/24"],
        "routes": [{ "destination": "172.16.0.0/12", "gateway": "10.99.7.1" }],
        "dns": { "nameservers": ["10.99.7.53"], "domain": "shop.test", "search": ["shop.test"] },
        "reserved": ["10.99.7.1-10.99.7.60"],
    }));
    let pod = host.pod("web-0");
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", version)).run(&host);
    let ipam = host.delegates.the("ADD first").stdin["ipam"].clone();
    assert_eq!(ipam["type"], json!("knap"));
    assert_eq!(ipam["addresses"][0]["address"], json!(answer.addresses()[0]));
    assert_eq!(ipam["routes"], json!([{ "dst": "172.16.0.0/12", "gw": "10.99.7.1" }]));
    assert_eq!(ipam["dns"]["nameservers"], json!(["10.99.7.53"]));
    assert_eq!(ipam["dns"]["domain"], json!("shop.test"));
    let host_part: u8 =
        answer.addresses()[0].trim_start_matches("10.99.7.").trim_end_matches("/24").parse().unwrap();
    assert!(host_part > 60, "{:?} is reserved", answer.addresses());
}

#[test]
fn both_families_share_a_slot() {
    let class = recorded_class_on(&["first"], &[("10.99.0.0/16", 24), ("fd00:99::/32", 64)]);
    let asked = json!({ "subnets": ["10.99.7.0/24", "fd00:99:7::/64"] });
    let host = Host::start(&[class, network("shop/blue", &asked)], &["first"]);
    host.resolver.wait_ready("shop/blue");
    let pod = host.pod("web-0");
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host);
    let addresses = answer.addresses();
    let leases = host.resolver.attachments("shop/blue");
    assert_eq!((addresses.len(), leases.len()), (2, 1));
    assert_eq!(leases[0].addresses, addresses);
    let slot: u32 = leases[0].lease.trim_start_matches("shop.blue-").parse().unwrap();
    assert_eq!(addresses, [format!("10.99.7.{slot}/24"), format!("fd00:99:7::{slot:x}/64")]);
    assert!(leases[0].mac.as_deref().unwrap().ends_with(&format!(":00:00:{slot:02x}")), "{leases:?}");
}

#[test]
fn without_ipam_there_is_a_mac_and_no_address() {
    let host = host_with(&json!({ "ipam": "None" }));
    let pod = host.pod("web-0");
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host);
    assert_eq!(answer.addresses(), Vec::<String>::new());
    assert!(answer.result()["interfaces"][0]["mac"].as_str().unwrap().starts_with("0a:"));
    assert!(host.delegates.the("ADD first").stdin["ipam"]["addresses"].as_array().is_none_or(Vec::is_empty));
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    Call::del("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_proxy_in_the_environment_is_not_used() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let mut call = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0"));
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        call = call.env(name, "http://127.0.0.1:9");
    }
    call.run(&host).result();
}

#[test]
fn a_log_that_nobody_reads_any_more_fails_nothing() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run_unheard(&host).result();
    Call::del("c1", &pod, &config).run_unheard(&host).quiet();
    Call::new("ADD", "c1", &config).netns(&host.folder().join("gone")).run_unheard(&host).fails(8, &[]);
    host.assert_nothing_left("shop/blue");
}
