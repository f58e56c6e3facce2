//! What becomes of an administrator's template.

use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::*;
use crate::{Class, Dns, IpamMode, MacSource, NetworkIntent, Route};

fn template(plugins: Value) -> Class {
    let mut class = class("cni", json!({}));
    class.parameters.insert("plugins".into(), plugins);
    class.subnets = vec![pool("10.64.0.0/12", 24)];
    class
}

fn routed() -> NetworkIntent {
    NetworkIntent {
        routes: vec![Route { destination: prefix("172.16.0.0/12"), gateway: None }],
        dns: Dns { domain: Some("shop.example".into()), ..Dns::default() },
        ..network()
    }
}

#[test]
fn a_plugin_with_knap_as_ipam_gets_the_lease_and_the_others_stay_as_written() {
    let class = template(json!([
        {"type": "ptp", "ipMasq": true, "mtu": 1400, "capabilities": {"mac": true}, "ipam": {"type": "knap"}},
        {"type": "tuning", "sysctl": {"net.ipv4.conf.all.arp_filter": "1"}},
        {"type": "macvlan", "master": "eth1", "ipam": {"type": "host-local", "subnet": "10.9.0.0/24"}}
    ]));
    assert_eq!(
        attachment(&routed(), &class).unwrap(),
        json!({
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": true,
                    "mtu": 1400,
                    "capabilities": {"mac": true},
                    "ipam": {
                        "type": "knap",
                        "addresses": [{"address": "10.64.0.5/24"}],
                        "routes": [{"dst": "172.16.0.0/12"}],
                        "dns": {"domain": "shop.example"}
                    },
                    "dns": {"domain": "shop.example"}
                },
                {"type": "tuning", "sysctl": {"net.ipv4.conf.all.arp_filter": "1"}},
                {"type": "macvlan", "master": "eth1", "ipam": {"type": "host-local", "subnet": "10.9.0.0/24"}}
            ]
        })
    );
    assert_eq!(plan(&routed(), &class).unwrap().0.mac, MacSource::Lease);
}

#[test]
fn the_templates_routes_come_first_and_its_name_resolution_is_a_default() {
    let ipam =
        json!({"type": "knap", "routes": [{"dst": "0.0.0.0/0"}], "dns": {"domain": "template.example"}});
    let class = template(json!([{ "type": "ptp", "ipam": ipam }]));
    let made = attachment(&routed(), &class).unwrap();
    assert_eq!(made["plugins"][0]["ipam"]["routes"], json!([{"dst": "0.0.0.0/0"}, {"dst": "172.16.0.0/12"}]));
    assert_eq!(made["plugins"][0]["ipam"]["dns"], json!({"domain": "shop.example"}));
    let made = attachment(&network(), &class).unwrap();
    assert_eq!(made["plugins"][0]["ipam"]["routes"], json!([{"dst": "0.0.0.0/0"}]));
    assert_eq!(made["plugins"][0]["ipam"]["dns"], json!({"domain": "template.example"}));
}

#[rstest]
#[case(IpamMode::None, json!({}))]
#[case(IpamMode::Dhcp, json!({"type": "dhcp"}))]
fn the_network_decides_whether_there_are_addresses(#[case] ipam: IpamMode, #[case] expected: Value) {
    let class =
        template(json!([{"type": "ptp", "ipam": {"type": "knap", "routes": [{"dst": "0.0.0.0/0"}]}}]));
    let network = NetworkIntent { ipam, ..network() };
    assert_eq!(attachment(&network, &class).unwrap()["plugins"], json!([{"type": "ptp", "ipam": expected}]));
}

#[test]
fn a_template_with_addresses_of_its_own_gets_none() {
    let class = Class {
        subnets: Vec::new(),
        ..template(json!([{"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.9.0.0/24"}}]))
    };
    let (plan, _) = plan(&network(), &class).unwrap();
    assert_eq!((plan.ipam, plan.subnets.len(), plan.mac), (IpamMode::None, 0, MacSource::Device));
    let made = attachment(&network(), &class).unwrap();
    assert_eq!(made["plugins"][0]["ipam"], json!({"type": "host-local", "subnet": "10.9.0.0/24"}));
    let error = attachment(&routed(), &class).unwrap_err();
    assert!(error.contains("gives out addresses by itself: remove spec.routes"), "{error}");
}

#[test]
fn a_resource_makes_a_device_necessary() {
    let class = Class {
        resource_name: Some("vendor.com/pool".into()),
        ..template(json!([{"type": "ib-sriov", "ipam": {"type": "knap"}}]))
    };
    assert!(plan(&network(), &class).unwrap().0.needs_device);
}

#[rstest]
#[case::nothing(json!([]), "a list of CNI plugin configurations, at least one")]
#[case::no_list(json!({"type": "ptp"}), "a list of CNI plugin configurations")]
#[case::no_object(json!(["ptp"]), "a list of CNI plugin configurations")]
#[case::no_type(json!([{"mtu": 1400}]), "plugin 1 of the provider's answer has no type")]
#[case::ourselves(json!([{"type": "ptp"}, {"type": "knap"}]), "plugin 2 of the provider's answer has type \"knap\"")]
#[case::path(json!([{"type": "../../bin/sh"}]), "has type \"../../bin/sh\"")]
#[case::ipam_path(json!([{"type": "ptp", "ipam": {"type": "/bin/sh"}}]), "ipam type \"/bin/sh\"")]
#[case::addresses(json!([{"type": "ptp", "ipam": {"type": "knap", "addresses": []}}]), "\"addresses\" in an ipam")]
#[case::runtime(json!([{"type": "ptp", "runtimeConfig": {}}]), "filled in when a plugin runs")]
fn a_template_that_can_t_be_run_is_refused(#[case] plugins: Value, #[case] why: &str) {
    let error = attachment(&network(), &template(plugins)).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[rstest]
#[case::uplinks(|class: &mut Class| class.uplinks = vec![uplink("eth0")], "can't use uplinks")]
#[case::segments(|class: &mut Class| class.segments = vlans("100"), "can't use segments")]
#[case::parameter(
    |class: &mut Class| { class.parameters.insert("plugin".into(), json!([])); },
    "has no parameter \"plugin\": remove it (known: plugins)"
)]
fn what_a_template_can_t_use_is_refused(#[case] change: fn(&mut Class), #[case] why: &str) {
    let mut class = template(json!([{"type": "ptp", "ipam": {"type": "knap"}}]));
    change(&mut class);
    let error = attachment(&network(), &class).unwrap_err();
    assert!(error.contains(why), "{error}");
}
