//! Addresses and MACs that the caller asks for.

use knap_tests::{Call, Host, Wire, network, recorded_class, recorded_class_on, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

/// Serves `shop/blue` on 10.99.7.0/24 and fd00:99:7::/64, by one delegate that declares `mac` and `ips`.
fn host_with(spec: &Value) -> Host {
    let class = recorded_class_on(&["first"], &[("10.99.0.0/16", 24), ("fd00:99::/32", 64)]);
    let mut class: Value = serde_json::from_str(&class).unwrap();
    class["spec"]["parameters"]["plugins"][0]["capabilities"] = json!({ "mac": true, "ips": true });
    let mut all = json!({ "subnets": ["10.99.7.0/24", "fd00:99:7::/64"], "reserved": ["10.99.7.200"] });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let host = Host::start(&[class.to_string(), network("shop/blue", &all)], &["first"]);
    host.resolver.wait_ready("shop/blue");
    host
}

/// An ADD that asks in one of the three forms.
fn asking(form: &str, addresses: &[&str]) -> impl Fn(&str, &knap_tests::Sandbox) -> Call {
    let (form, addresses) = (form.to_owned(), json!(addresses));
    move |container, pod| {
        let mut config = thin_config("shop/blue", "1.0.0");
        let list =
            addresses.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect::<Vec<_>>();
        let mut args = "IgnoreUnknown=true;K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=shop".to_owned();
        match form.as_str() {
            "IP=" => args = format!("{args};IP={}", list.join(",")),
            "runtimeConfig.ips" => config["runtimeConfig"] = json!({ "ips": addresses }),
            "args.cni.ips" => config["args"] = json!({ "cni": { "ips": addresses, "colour": "blue" } }),
            _ => panic!("{form}"),
        }
        Call::add(container, pod, &config).args(&args)
    }
}

#[rstest]
fn an_address_asked_for_is_leased_and_no_delegate_sees_the_request(
    #[values("IP=", "runtimeConfig.ips", "args.cni.ips")] form: &str,
    #[values("10.99.7.77/24", "10.99.7.77")] address: &str,
) {
    let host = host_with(&json!({}));
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let answer = asking(form, &[address])("c1", &pod).run(&host);
    assert_eq!(answer.addresses(), ["10.99.7.77/24", "fd00:99:7::4d/64"]);
    assert_eq!(host.resolver.leases("shop/blue"), ["shop.blue-77"]);
    let put = wire.the("PUT").body;
    let asked = put["runtimeConfig"]["ips"][0].as_str().or(put["args"]["ips"][0].as_str());
    assert_eq!(asked, Some(address), "{put}");
    let first = host.delegates.the("ADD first");
    assert!(first.stdin["runtimeConfig"].get("ips").is_none(), "{first:?}");
    assert!(first.stdin["args"]["cni"].get("ips").is_none(), "{first:?}");
    assert!(!first.env("CNI_ARGS").contains("IP="), "{first:?}");
    assert!(first.env("CNI_ARGS").contains("K8S_POD_NAME=web-0"), "{first:?}");
    if form == "args.cni.ips" {
        assert_eq!(first.text("/args/cni/colour"), Some("blue"));
    }
    Call::del("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).quiet();
    let del = host.delegates.the("DEL first");
    assert!(!del.env("CNI_ARGS").contains("IP="), "{del:?}");
    host.assert_nothing_left("shop/blue");
}

#[test]
fn two_families_of_one_slot_take_one_lease() {
    let host = host_with(&json!({}));
    let pod = host.pod("web-0");
    let answer = asking("IP=", &["10.99.7.16/24", "fd00:99:7::10/64"])("c1", &pod).run(&host);
    assert_eq!(answer.addresses(), ["10.99.7.16/24", "fd00:99:7::10/64"]);
    assert_eq!(host.resolver.leases("shop/blue"), ["shop.blue-16"]);
}

#[test]
fn two_families_of_two_slots_take_two_leases_and_give_both_back() {
    let host = host_with(&json!({}));
    let pod = host.pod("web-0");
    let answer = asking("runtimeConfig.ips", &["10.99.7.16/24", "fd00:99:7::99/64"])("c1", &pod).run(&host);
    let mut addresses = answer.addresses();
    addresses.sort();
    assert_eq!(addresses, ["10.99.7.16/24", "fd00:99:7::99/64"]);
    assert_eq!(host.resolver.leases("shop/blue"), ["shop.blue-153", "shop.blue-16"]);
    Call::del("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn two_leases_that_the_resolver_has_lost_are_asserted_again(
    #[values("IP=", "runtimeConfig.ips", "args.cni.ips")] form: &str,
) {
    let host = host_with(&json!({}));
    let pod = host.pod("web-0");
    let (state, backup) =
        (host.folder().join("resolver/state.redb"), host.folder().join("resolver/backup.redb"));
    host.resolver.stop();
    std::fs::copy(&state, &backup).unwrap();
    host.resolver.start();
    asking(form, &["10.99.7.16/24", "fd00:99:7::99/64"])("c1", &pod).run(&host).result();
    let before = host.resolver.attachments("shop/blue");
    host.resolver.stop();
    std::fs::rename(&backup, &state).unwrap();
    host.resolver.start();
    host.resolver.wait_ready("shop/blue");
    let reaped = host.reap();
    assert_eq!(reaped.status, Some(0), "{reaped:?}");
    assert_eq!(host.resolver.attachments("shop/blue"), before);
}

#[rstest]
#[case::outside("10.98.0.5", "10.98.0.5")]
#[case::reserved("10.99.7.200", "10.99.7.200")]
#[case::network("10.99.7.0", "10.99.7.0")]
#[case::broadcast("10.99.7.255", "10.99.7.255")]
#[case::no_address("ten", "ten")]
#[case::wrong_length("10.99.7.5/33", "10.99.7.5/33")]
fn an_address_that_can_not_be_had_is_refused(
    #[case] address: &str,
    #[case] word: &str,
    #[values("IP=", "runtimeConfig.ips", "args.cni.ips")] form: &str,
) {
    let host = host_with(&json!({}));
    let pod = host.pod("web-0");
    asking(form, &[address])("c1", &pod).run(&host).fails(7, &[word]);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    host.assert_nothing_left("shop/blue");
}

#[test]
fn the_gateway_is_refused() {
    let mut class: Value = serde_json::from_str(&recorded_class(&["first"])).unwrap();
    class["spec"]["subnets"] = json!([{ "cidr": "10.98.0.0/16", "prefixLength": 24, "gateway": "First" }]);
    let host = Host::start(&[class.to_string(), network("shop/blue", &json!({}))], &["first"]);
    let gateway = host.resolver.wait_ready("shop/blue").subnets[0].gateway.clone().expect("a gateway");
    let pod = host.pod("web-0");
    asking("IP=", &[&gateway])("c1", &pod).run(&host).fails(7, &[&gateway, "gateway"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn an_address_that_is_taken_is_refused_until_it_is_free() {
    let host = host_with(&json!({}));
    let (pod, other) = (host.pod("web-0"), host.pod("web-1"));
    let asking = asking("IP=", &["10.99.7.77"]);
    asking("c1", &pod).run(&host).result();
    asking("c2", &other).run(&host).fails(7, &["10.99.7.77"]);
    assert_eq!(host.ledger.entries(), ["c1@net1.json"]);
    assert_eq!(host.resolver.leases("shop/blue"), ["shop.blue-77"]);
    Call::del("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).quiet();
    asking("c2", &other).run(&host).result();
}

#[rstest]
#[case::variable(Some("02:11:22:33:44:01"), None, "02:11:22:33:44:01")]
#[case::capability(None, Some("02:11:22:33:44:02"), "02:11:22:33:44:02")]
#[case::both(Some("02:11:22:33:44:01"), Some("02:11:22:33:44:02"), "02:11:22:33:44:02")]
#[case::upper_case(Some("02:AA:BB:CC:DD:EE"), None, "02:aa:bb:cc:dd:ee")]
fn a_mac_asked_for_arrives(
    #[case] variable: Option<&str>,
    #[case] capability: Option<&str>,
    #[case] expected: &str,
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = host_with(&json!({}));
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", version);
    if let Some(mac) = capability {
        config["runtimeConfig"] = json!({ "mac": mac });
    }
    let mut call = Call::add("c1", &pod, &config);
    if let Some(mac) = variable {
        call = call.args(&format!("IgnoreUnknown=true;MAC={mac}"));
    }
    call.run(&host).result();
    let given = host.delegates.the("ADD first").text("/runtimeConfig/mac").unwrap().to_lowercase();
    assert_eq!(given, expected);
    assert_eq!(host.resolver.attachments("shop/blue")[0].mac.as_deref(), Some(expected));
    Call::del("c1", &pod, &thin_config("shop/blue", version)).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_mac_that_is_taken_is_refused_until_it_is_free() {
    let host = host_with(&json!({}));
    let (pod, other) = (host.pod("web-0"), host.pod("web-1"));
    let config = thin_config("shop/blue", "1.0.0");
    let args = "MAC=02:11:22:33:44:55";
    Call::add("c1", &pod, &config).args(args).run(&host).result();
    Call::add("c2", &other, &config).args(args).run(&host).fails(7, &["02:11:22:33:44:55"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    Call::del("c1", &pod, &config).run(&host).quiet();
    Call::add("c2", &other, &config).args(args).run(&host).result();
}

#[rstest]
#[case::knaps_own("0a:12:34:00:00:99")]
#[case::no_mac("02:11:22")]
#[case::multicast("01:00:5e:00:00:01")]
fn a_mac_that_can_not_be_had_is_refused(#[case] mac: &str) {
    let host = host_with(&json!({}));
    let pod = host.pod("web-0");
    let call = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).args(&format!("MAC={mac}"));
    call.run(&host).fails(7, &[mac]);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    host.assert_nothing_left("shop/blue");
}

#[test]
fn the_mac_in_args_is_left_to_the_delegate_that_reads_it() {
    let host = host_with(&json!({}));
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", "1.0.0");
    config["args"] = json!({ "cni": { "mac": "02:11:22:33:44:55" } });
    Call::add("c1", &pod, &config).run(&host).result();
    assert_eq!(host.delegates.the("ADD first").text("/args/cni/mac"), Some("02:11:22:33:44:55"));
}

#[test]
fn where_knap_does_not_allocate_the_request_is_the_delegates() {
    let host = host_with(&json!({ "ipam": "None", "subnets": [], "reserved": [] }));
    let pod = host.pod("web-0");
    let mut config = thin_config("shop/blue", "1.0.0");
    config["args"] = json!({ "cni": { "ips": ["192.0.2.7/24"] } });
    let call = Call::add("c1", &pod, &config).args("IgnoreUnknown=true;IP=192.0.2.8/24");
    call.run(&host).result();
    let first = host.delegates.the("ADD first");
    assert_eq!(first.stdin["args"]["cni"]["ips"], json!(["192.0.2.7/24"]));
    assert!(first.env("CNI_ARGS").contains("IP=192.0.2.8/24"), "{first:?}");
}

#[test]
fn of_a_repeated_address_key_the_last_that_is_not_empty_counts() {
    let host = host_with(&json!({}));
    let pod = host.pod("web-0");
    let call = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0"));
    let answer = call.args("IP=10.99.7.20;IP=10.99.7.21;IP=").run(&host);
    assert_eq!(answer.addresses()[0], "10.99.7.21/24");
}
