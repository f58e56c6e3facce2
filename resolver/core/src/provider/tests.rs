//! What each built-in provider makes, to the letter, and what it refuses.

use rstest::rstest;
use serde_json::{Value, json};

use super::{NodeFacts, ProviderError, provider};
use crate::fixture::*;
use crate::{Class, Dns, GatewayPolicy, IpamMode, Labels, MacSource, NetworkIntent, Route, Uplink};

fn with_pools(mut class: Class, pools: &[(&str, u8)]) -> Class {
    class.subnets = pools.iter().map(|(cidr, length)| pool(cidr, *length)).collect();
    class
}

fn with_resource(mut class: Class) -> Class {
    class.resource_name = Some("vendor.com/pool".into());
    class
}

fn layer_2() -> NetworkIntent {
    NetworkIntent { ipam: IpamMode::None, ..network() }
}

fn message(result: Result<Value, String>) -> String {
    result.expect_err("should be refused")
}

mod bridge {
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
        assert_eq!(
            made["plugins"][0]["ipam"]["addresses"],
            json!([{"address": "10.64.0.5/24", "gateway": "10.64.0.1"}])
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
}

mod macvlan {
    use super::*;

    fn racks() -> Class {
        let mut class = with_pools(class("macvlan", json!({})), &[("10.64.0.0/12", 24)]);
        class.uplinks = vec![
            Uplink { node_selector: Some(selector(&[("rack", "a")])), interface: "ens1f0".into() },
            Uplink { node_selector: Some(selector(&[("rack", "b")])), interface: "eth1".into() },
        ];
        class
    }

    fn master(labels: Option<Labels>) -> Result<Value, ProviderError> {
        let (plan, layout) = plan(&network(), &racks()).unwrap();
        let node = NodeFacts { name: "n1".into(), labels };
        let made = provider("macvlan").unwrap().attachment(&plan, &node, &lease(&layout))?;
        Ok(made.plugins[0]["master"].clone())
    }

    #[test]
    fn is_one_delegate_on_the_nodes_uplink() {
        assert_eq!(
            attachment(&network(), &racks()).unwrap(),
            json!({
                "plugins": [{
                    "type": "macvlan",
                    "master": "ens1f0",
                    "mode": "bridge",
                    "capabilities": {"mac": true},
                    "ipam": {"type": "knap", "addresses": [{"address": "10.64.0.5/24"}]}
                }]
            })
        );
    }

    #[test]
    fn takes_mode_and_mtu_from_the_class() {
        let mut class = Class { parameters: class("macvlan", json!({"mode": "vepa"})).parameters, ..racks() };
        class.features.mtu = Some(1400);
        assert_eq!(
            attachment(&layer_2(), &class).unwrap(),
            json!({
                "plugins": [{
                    "type": "macvlan",
                    "master": "ens1f0",
                    "mode": "vepa",
                    "mtu": 1400,
                    "capabilities": {"mac": true},
                    "ipam": {}
                }],
                "mtu": 1400
            })
        );
    }

    #[test]
    fn takes_the_first_uplink_that_matches_the_node() {
        assert_eq!(master(Some(labels(&[("rack", "b")]))).unwrap(), "eth1");
        assert_eq!(master(None).unwrap(), "ens1f0", "without labels nothing is filtered");
        let error = master(Some(labels(&[("rack", "c")]))).unwrap_err().to_string();
        assert!(error.contains("\"fabric-a\" has no uplink for node \"n1\""), "{error}");
    }

    #[rstest]
    #[case::no_uplink(Class { uplinks: Vec::new(), ..racks() }, "provider macvlan needs uplinks")]
    #[case::vlans(Class { segments: vlans("100-199"), ..racks() }, "can't use segments in this version")]
    #[case::resource(with_resource(racks()), "can't use resourceName")]
    #[case::mode(
        Class { parameters: class("macvlan", json!({"mode": "l2"})).parameters, ..racks() },
        "it must be \"bridge\" or \"private\" or \"vepa\" or \"passthru\""
    )]
    #[case::master(
        Class { parameters: class("macvlan", json!({"master": "eth0"})).parameters, ..racks() },
        "has no parameter \"master\": remove it (known: mode)"
    )]
    fn refuses_classes(#[case] class: Class, #[case] why: &str) {
        let error = message(attachment(&network(), &class));
        assert!(error.contains(why), "{error}");
    }
}

mod devices {
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
}
