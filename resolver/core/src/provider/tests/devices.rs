//! Providers `sriov` and `host-device`.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn functions(parameters: Value) -> Class {
    let class = with_resource(class("sriov", parameters));
    Class { segments: vlans("100-199"), ..with_pools(class, &[("10.64.0.0/12", 24)]) }
}

fn whole_devices(parameters: Value) -> Class {
    with_pools(with_resource(class("host-device", parameters)), &[("10.64.0.0/12", 24)])
}

#[test]
fn sriov_is_one_delegate_with_the_vlan() {
    let class = functions(json!({"spoofchk": "off", "trust": "on", "vlanQoS": 3, "max_tx_rate": 1000}));
    assert_eq!(
        attachment(&network(), &class).unwrap(),
        json!({
            "plugins": [{
                "type": "sriov",
                "vlan": 100,
                "vlanQoS": 3,
                "spoofchk": "off",
                "trust": "on",
                "max_tx_rate": 1000,
                "capabilities": {"deviceID": true, "mac": true},
                "ipam": {"type": "knap", "addresses": [{"address": "10.64.0.5/24"}]}
            }]
        })
    );
}

#[test]
fn host_device_keeps_the_devices_address() {
    let class = whole_devices(json!({}));
    assert_eq!(
        attachment(&network(), &class).unwrap(),
        json!({
            "plugins": [{
                "type": "host-device",
                "capabilities": {"deviceID": true},
                "ipam": {"type": "knap", "addresses": [{"address": "10.64.0.5/24"}]}
            }]
        })
    );
    assert_eq!(plan(&network(), &class).unwrap().0.mac, MacSource::Device);
}

#[test]
fn host_device_gets_the_leases_address_from_tuning() {
    let class = whole_devices(json!({"mac": "lease"}));
    assert_eq!(
        attachment(&layer_2(), &class).unwrap()["plugins"],
        json!([
            {"type": "host-device", "capabilities": {"deviceID": true}, "ipam": {}},
            {"type": "tuning", "capabilities": {"mac": true}}
        ])
    );
    assert_eq!(plan(&network(), &class).unwrap().0.mac, MacSource::Lease);
}

#[rstest]
#[case(functions(json!({})))]
#[case(whole_devices(json!({})))]
fn both_need_a_device_of_the_resource(#[case] class: Class) {
    let (plan, _) = plan(&network(), &class).unwrap();
    assert!(plan.needs_device);
    assert_eq!(plan.resource_name.as_deref(), Some("vendor.com/pool"));
}

#[rstest]
#[case::no_resource(Class { resource_name: None, ..functions(json!({})) }, "provider sriov needs resourceName")]
#[case::uplinks(Class { uplinks: vec![uplink("eth0")], ..functions(json!({})) }, "can't use uplinks")]
#[case::switch(functions(json!({"spoofchk": true})), "can't be true: it must be \"on\" or \"off\"")]
#[case::quality(functions(json!({"vlanQoS": 8})), "it must be a whole number from 0 to 7")]
#[case::rates(functions(json!({"min_tx_rate": 20, "max_tx_rate": 10})), "min_tx_rate 20 is above max_tx_rate 10")]
#[case::vlan_is_ours(functions(json!({"vlan": 7})), "has no parameter \"vlan\"")]
#[case::no_vlans(Class { segments: None, ..functions(json!({"vlanProto": "802.1ad"})) }, "is about VLANs")]
#[case::device_vlans(Class { segments: vlans("1-9"), ..whole_devices(json!({})) }, "can't use segments")]
#[case::device_mac(whole_devices(json!({"mac": "0a:00:00:00:00:01"})), "\"device\" or \"lease\"")]
fn refuse_classes(#[case] class: Class, #[case] why: &str) {
    let error = message(attachment(&network(), &class));
    assert!(error.contains(why), "{error}");
}
