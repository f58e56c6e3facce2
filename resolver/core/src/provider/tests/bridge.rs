//! Provider `bridge`.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn own() -> Class {
    with_pools(class("bridge", json!({})), &[("10.64.0.0/12", 24)])
}

fn with_uplink() -> Class {
    Class { uplinks: vec![uplink("ens1f0")], ..own() }
}

#[test]
fn of_each_node_holds_the_gateway() {
    assert_eq!(
        attachment(&network(), &own()).unwrap(),
        json!({
            "plugins": [{
                "type": "bridge",
                "bridge": "kn1f2e",
                "isGateway": true,
                "capabilities": {"mac": true},
                "ipam": {"type": "knap", "addresses": [{"address": "10.64.0.5/24", "gateway": "10.64.0.1"}]}
            }],
            "hostLinks": [{"kind": "bridge", "name": "kn1f2e", "owner": "uid-blue"}]
        })
    );
}

#[test]
fn of_dual_stack_with_routes_and_name_resolution() {
    let mut class = with_pools(
        class("bridge", json!({"ipMasq": true, "isDefaultGateway": true})),
        &[("10.64.0.0/12", 24), ("fd00:64::/32", 64)],
    );
    class.features.mtu = Some(9000);
    let network = NetworkIntent {
        routes: vec![
            Route { destination: prefix("172.16.5.9/12"), gateway: Some("10.64.0.1".parse().unwrap()) },
            Route { destination: prefix("fd01::/16"), gateway: None },
        ],
        dns: Dns {
            nameservers: vec!["10.64.0.1".parse().unwrap()],
            domain: None,
            search: vec!["shop.example".into()],
        },
        ..network()
    };
    let dns = json!({"nameservers": ["10.64.0.1"], "search": ["shop.example"]});
    assert_eq!(
        attachment(&network, &class).unwrap(),
        json!({
            "plugins": [{
                "type": "bridge",
                "bridge": "kn1f2e",
                "mtu": 9000,
                "isGateway": true,
                "isDefaultGateway": true,
                "ipMasq": true,
                "capabilities": {"mac": true},
                "ipam": {
                    "type": "knap",
                    "addresses": [
                        {"address": "10.64.0.5/24", "gateway": "10.64.0.1"},
                        {"address": "fd00:64::5/64", "gateway": "fd00:64::1"}
                    ],
                    "routes": [{"dst": "172.16.0.0/12", "gw": "10.64.0.1"}, {"dst": "fd01::/16"}],
                    "dns": dns
                },
                "dns": dns
            }],
            "hostLinks": [{"kind": "bridge", "name": "kn1f2e", "owner": "uid-blue", "mtu": 9000}],
            "mtu": 9000
        })
    );
}

#[rstest]
#[case(IpamMode::None, json!({}))]
#[case(IpamMode::Dhcp, json!({"type": "dhcp"}))]
fn without_our_addresses_holds_none(#[case] ipam: IpamMode, #[case] expected: Value) {
    let class = with_pools(class("bridge", json!({"isDefaultGateway": true})), &[("10.64.0.0/12", 24)]);
    let network = NetworkIntent { ipam, ..network() };
    assert_eq!(
        attachment(&network, &class).unwrap()["plugins"],
        json!([{
            "type": "bridge",
            "bridge": "kn1f2e",
            "isGateway": false,
            "capabilities": {"mac": true},
            "ipam": expected
        }])
    );
}

#[test]
fn with_an_uplink_leaves_the_gateway_to_the_wire() {
    let made = attachment(&network(), &with_uplink()).unwrap();
    assert_eq!(
        made["hostLinks"],
        json!([{"kind": "bridge", "name": "kn1f2e", "owner": "uid-blue", "uplink": "ens1f0"}])
    );
    assert_eq!(made["plugins"][0]["isGateway"], json!(false));
    assert_eq!(made["plugins"][0]["ipam"]["addresses"], json!([{"address": "10.64.0.5/24"}]));
    let routed =
        Class { subnets: vec![pool_with_gateway("10.64.0.0/12", 24, GatewayPolicy::First)], ..with_uplink() };
    assert_eq!(
        attachment(&network(), &routed).unwrap()["plugins"][0]["ipam"]["addresses"],
        json!([{"address": "10.64.0.5/24", "gateway": "10.64.0.1"}]),
        "a router on the wire, as the class says"
    );
    let profile = provider("bridge").unwrap().profile(&with_uplink());
    assert_eq!((profile.routed, profile.own_segment), (false, false));
    assert_eq!(profile.exclusive, ["uplink-fabric-a"], "a link is the port of one bridge");
}

#[test]
fn with_an_uplink_can_hold_the_gateway_where_that_is_said() {
    let class = Class {
        uplinks: vec![uplink("ens1f0")],
        ..with_pools(class("bridge", json!({"isGateway": true})), &[("10.64.0.0/12", 24)])
    };
    assert_eq!(attachment(&network(), &class).unwrap()["plugins"][0]["isGateway"], json!(true));
    assert!(provider("bridge").unwrap().profile(&class).routed);
}

#[test]
fn without_a_gateway_gives_none() {
    let mut class = own();
    class.subnets = vec![pool_with_gateway("10.64.0.0/12", 24, GatewayPolicy::None)];
    let made = attachment(&network(), &class).unwrap();
    assert_eq!(made["plugins"][0]["isGateway"], json!(false));
    assert_eq!(made["plugins"][0]["ipam"]["addresses"], json!([{"address": "10.64.0.5/24"}]));
}

#[test]
fn that_may_not_hold_a_gateway_gives_none() {
    let class = with_pools(class("bridge", json!({"isGateway": false})), &[("10.64.0.0/12", 24)]);
    let made = attachment(&network(), &class).unwrap();
    assert_eq!(made["plugins"][0]["isGateway"], json!(false));
    assert_eq!(made["plugins"][0]["ipam"]["addresses"], json!([{"address": "10.64.0.5/24"}]));
}

#[test]
fn needs_room_for_its_gateway() {
    let class = Class { allow_requested_subnets: true, ..own() };
    let network = NetworkIntent { subnets: vec![prefix("10.64.7.5/32")], ..network() };
    let error = plan(&network, &class).unwrap_err();
    assert!(error.contains("subnet 10.64.7.5/32 of Network shop/blue has no gateway address"), "{error}");
}

#[test]
fn of_a_shared_subnet_carries_the_parents_length() {
    let mut class = with_uplink();
    let gateway = GatewayPolicy::Address("192.0.2.1".parse().unwrap());
    class.subnets = vec![shared_pool("192.0.2.0/24", 28, gateway)];
    assert_eq!(
        attachment(&network(), &class).unwrap()["plugins"][0]["ipam"]["addresses"],
        json!([{"address": "192.0.2.5/24", "gateway": "192.0.2.1"}])
    );
}

#[rstest]
#[case::unknown(json!({"mode": "bridge"}), "has no parameter \"mode\"")]
#[case::ours_to_say(json!({"bridge": "br0"}), "has no parameter \"bridge\"")]
#[case::wrong_type(json!({"ipMasq": "yes"}), "parameter \"ipMasq\" of provider bridge can't be \"yes\"")]
#[case::exclusive(json!({"hairpinMode": true, "promiscMode": true}), "exclude each other")]
#[case::no_gateway(json!({"isGateway": false, "isDefaultGateway": true}), "isGateway: false forbids")]
fn refuses_parameters(#[case] parameters: Value, #[case] why: &str) {
    let class = with_pools(class("bridge", parameters), &[("10.64.0.0/12", 24)]);
    let error = message(attachment(&network(), &class));
    assert!(error.contains(why), "{error}");
}

#[rstest]
#[case::vlans(Class { segments: vlans("100-199"), ..with_uplink() }, "can't use segments")]
#[case::resource(with_resource(own()), "can't use resourceName")]
#[case::gateway_of_none(
    Class {
        subnets: vec![pool_with_gateway("10.64.0.0/12", 24, GatewayPolicy::None)],
        ..class("bridge", json!({"isGateway": true}))
    },
    "a subnet has gateway: None"
)]
#[case::gateway_of_shared(
    Class {
        subnets: vec![shared_pool("192.0.2.0/24", 28, GatewayPolicy::First)],
        ..class("bridge", json!({"isGateway": true}))
    },
    "the gateway of a shared subnet"
)]
#[case::uplink_name(Class { uplinks: vec![uplink("an-interface-too-long")], ..own() }, "an-interface-too-long")]
fn refuses_classes(#[case] class: Class, #[case] why: &str) {
    let error = message(attachment(&network(), &class));
    assert!(error.contains(why), "{error}");
}
