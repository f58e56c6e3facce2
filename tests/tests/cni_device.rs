//! SR-IOV: the device that the kubelet gave the pod, its VLAN and its MAC.

use knap_tests::{Call, Host, network, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

const DEVICE: &str = "0000:03:02.1";

fn host_of(provider: &str, spec: &Value) -> Host {
    let mut class = json!({
        "apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": { "name": "test" },
        "spec": { "provider": provider, "resourceName": "vendor.com/pool",
                  "subnets": [{ "cidr": "10.64.0.0/16", "prefixLength": 24 }] },
    });
    class["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let host = Host::start(&[class.to_string(), network("shop/fast", &json!({}))], &[provider]);
    host.resolver.wait_ready("shop/fast");
    host
}

/// As Multus writes it for a NAD with a resource name.
fn with_device(version: &str) -> Value {
    let mut config = thin_config("shop/fast", version);
    config["deviceID"] = json!(DEVICE);
    config["pciBusID"] = json!(DEVICE);
    config["runtimeConfig"] = json!({ "deviceID": DEVICE, "CNIDeviceInfoFile": "/run/device.json" });
    config
}

#[rstest]
fn sriov_gets_device_vlan_and_mac(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = host_of("sriov", &json!({ "segments": { "vlans": ["100-199"] } }));
    let pod = host.pod("web-0");
    let answer = Call::add("c1", &pod, &with_device(version)).run(&host);
    answer.result();
    let lease = &host.resolver.attachments("shop/fast")[0];
    let add = host.delegates.the("ADD sriov");
    assert_eq!(add.text("/type"), Some("sriov"));
    assert_eq!(add.text("/deviceID"), Some(DEVICE));
    let vlan = add.stdin["vlan"].as_u64().unwrap();
    assert!((100..200).contains(&vlan), "{add:?}");
    assert_eq!(add.text("/runtimeConfig/mac"), lease.mac.as_deref());
    assert_eq!(add.stdin["ipam"]["addresses"][0]["address"], json!(lease.addresses[0]));
    // On DEL the caller's cache has lost most of it.
    Call::del("c1", &pod, &thin_config("shop/fast", version)).run(&host).quiet();
    let del = host.delegates.the("DEL sriov");
    for pointer in ["/deviceID", "/runtimeConfig/mac"] {
        assert_eq!(del.text(pointer), add.text(pointer), "{pointer}");
    }
    assert_eq!(del.stdin["vlan"], add.stdin["vlan"]);
    assert_eq!(del.env("CNI_NETNS"), pod.path().to_str().unwrap());
    host.assert_nothing_left("shop/fast");
}

#[rstest]
#[case::by_reap(false, false)]
#[case::by_reap_after_a_reboot(true, false)]
#[case::by_the_runtime_after_a_reboot(true, true)]
fn a_virtual_function_is_reset_in_the_boot_that_it_was_set_in(#[case] rebooted: bool, #[case] by_del: bool) {
    let host = host_of("sriov", &json!({}));
    let pod = host.pod("web-0");
    let path = pod.path().to_owned();
    Call::add("c1", &pod, &with_device("1.0.0")).run(&host).result();
    pod.remove();
    if rebooted {
        host.reboot(2);
    }
    if by_del {
        let call = Call::new("DEL", "c1", &thin_config("shop/fast", "1.0.0"));
        call.netns(&path).run(&host).quiet();
    } else {
        host.reap().result();
    }
    // By now the device may be another pod's, and sriov resets it where it is given a path.
    let expected = if rebooted { "" } else { path.to_str().unwrap() };
    assert_eq!(host.delegates.the("DEL sriov").env("CNI_NETNS"), expected);
    host.assert_nothing_left("shop/fast");
}

#[rstest]
fn host_device_gets_its_device(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = host_of("host-device", &json!({}));
    let pod = host.pod("web-0");
    Call::add("c1", &pod, &with_device(version)).run(&host).result();
    let add = host.delegates.the("ADD host-device");
    assert_eq!(add.text("/pciBusID"), Some(DEVICE));
    assert_eq!(add.text("/runtimeConfig/deviceID"), Some(DEVICE));
    Call::del("c1", &pod, &thin_config("shop/fast", version)).run(&host).quiet();
    let del = host.delegates.the("DEL host-device");
    assert_eq!(del.text("/pciBusID"), Some(DEVICE));
    assert_eq!(del.text("/runtimeConfig/deviceID"), Some(DEVICE));
    host.assert_nothing_left("shop/fast");
}

#[rstest]
fn without_a_device_nothing_runs(
    #[values("sriov", "host-device")] provider: &str,
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = host_of(provider, &json!({}));
    let pod = host.pod("web-0");
    let answer = Call::add("c1", &pod, &thin_config("shop/fast", version)).run(&host);
    answer.fails(7, &["shop/fast", "device"]);
    assert_eq!(host.delegates.all_calls().len(), 0, "not even asked for its version");
    host.assert_nothing_left("shop/fast");
}

#[test]
fn a_mac_asked_for_reaches_the_virtual_function() {
    let host = host_of("sriov", &json!({}));
    let pod = host.pod("web-0");
    let mut config = with_device("1.0.0");
    config["runtimeConfig"]["mac"] = json!("02:11:22:33:44:55");
    Call::add("c1", &pod, &config).run(&host).result();
    let add = host.delegates.the("ADD sriov");
    assert_eq!(add.text("/runtimeConfig/mac"), Some("02:11:22:33:44:55"));
}

#[test]
fn two_networks_on_one_fabric_get_two_vlans() {
    let host = host_of("sriov", &json!({ "segments": { "vlans": ["100-101"] } }));
    host.resolver.write_manifest("second.yaml", &network("shop/quick", &json!({})));
    host.resolver.wait_ready("shop/quick");
    let mut vlans = Vec::new();
    for (container, name) in [("c1", "shop/fast"), ("c2", "shop/quick")] {
        let pod = host.pod(container);
        let mut config = with_device("1.0.0");
        config["network"] = json!(name);
        config["name"] = json!(name.replace('/', "."));
        Call::add(container, &pod, &config).run(&host).result();
        vlans.push(host.delegates.calls().last().unwrap().stdin["vlan"].as_u64().unwrap());
    }
    vlans.sort_unstable();
    assert_eq!(vlans, [100, 101]);
    // A third finds none.
    host.resolver.write_manifest("third.yaml", &network("shop/swift", &json!({})));
    let message = knap_tests::eventually("shop/swift is refused", || {
        host.resolver.network("shop/swift").and_then(|view| view.message)
    });
    assert!(message.contains("100-101") || message.to_lowercase().contains("vlan"), "{message}");
}
