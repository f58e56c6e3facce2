use rstest::rstest;
use serde_json::json;

use super::*;
use crate::LabelSelector;
use crate::fixture::{class, network, plan, pool, prefix, uplink};

fn dual_stack() -> Class {
    let mut class = class("macvlan", json!({"mode": "bridge"}));
    class.subnets = vec![pool("10.64.0.0/12", 24), pool("fd00:64::/32", 64)];
    class.uplinks =
        vec![Uplink { node_selector: Some(LabelSelector::default()), interface: "ens1f0".into() }];
    class.features.mtu = Some(9000);
    class
}

fn route(destination: &str, gateway: Option<&str>) -> Route {
    Route { destination: prefix(destination), gateway: gateway.map(|gateway| gateway.parse().unwrap()) }
}

#[test]
fn a_plan_is_kept_and_answered_as_json() {
    let network = NetworkIntent { routes: vec![route("172.16.0.0/12", Some("10.64.0.9"))], ..network() };
    let (plan, _) = plan(&network, &dual_stack()).unwrap();
    let written = serde_json::to_value(&plan).unwrap();
    assert_eq!(
        written,
        json!({
            "network": {"namespace": "shop", "name": "blue", "uid": "uid-blue"},
            "class": "fabric-a",
            "provider": "macvlan",
            "segment": {},
            "mtu": 9000,
            "ipam": "Managed",
            "subnets": [
                {"cidr": "10.64.0.0/24", "slotBase": 0},
                {"cidr": "fd00:64::/64", "slotBase": 0}
            ],
            "mac": "Lease",
            "routes": [{"destination": "172.16.0.0/12", "gateway": "10.64.0.9"}],
            "uplinks": [{"nodeSelector": {}, "interface": "ens1f0"}],
            "needsDevice": false,
            "parameters": {"mode": "bridge"}
        })
    );
    assert_eq!(serde_json::from_value::<Plan>(written).unwrap(), plan);
}

#[test]
fn what_a_provider_leaves_out_has_defaults() {
    let network = json!({"namespace": "shop", "name": "blue", "uid": "uid-blue"});
    let plan: Plan =
        serde_json::from_value(json!({"network": network, "class": "c", "provider": "acme"})).unwrap();
    assert_eq!((plan.ipam, plan.mac, plan.needs_device), (IpamMode::Managed, MacSource::Lease, false));
    assert_eq!(plan.check(), Ok(()));
}

#[rstest]
#[case::via_the_subnet(route("0.0.0.0/0", Some("10.64.0.1")))]
#[case::by_default(route("::/0", None))]
fn routes_within_reach_are_kept(#[case] route: Route) {
    let network = NetworkIntent { routes: vec![route.clone()], ..network() };
    assert_eq!(plan(&network, &dual_stack()).unwrap().0.routes, [route]);
}

#[rstest]
#[case::outside(
    route("0.0.0.0/0", Some("10.64.1.1")),
    "10.64.1.1, which is in no subnet of Network shop/blue (10.64.0.0/24)"
)]
#[case::no_family(route("fd01::/16", None), "Network shop/blue has no subnet of the IP family of fd01::/16")]
fn routes_that_nobody_could_use_are_refused(#[case] route: Route, #[case] why: &str) {
    let class = Class { subnets: vec![pool("10.64.0.0/12", 24)], ..dual_stack() };
    let error = plan(&NetworkIntent { routes: vec![route], ..network() }, &class).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[rstest]
#[case::mtu(|plan: &mut Plan| plan.mtu = Some(67), "MTU 67, outside 68 to 65535")]
#[case::vlan(|plan: &mut Plan| plan.segment.vlan = Some(4095), "VLAN 4095, outside 1 to 4094")]
#[case::vni(|plan: &mut Plan| plan.segment.vni = Some(1 << 24), "VNI 16777216, outside 1 to 16777215")]
#[case::bridge(|plan: &mut Plan| plan.segment.bridge = Some("a/b".into()), "names \"a/b\"")]
#[case::uplink(|plan: &mut Plan| plan.uplinks = vec![uplink("")], "names \"\"")]
#[case::device(|plan: &mut Plan| plan.needs_device = true, "needs a device, but names no resource")]
fn a_plan_that_can_t_be_served_is_refused(#[case] change: fn(&mut Plan), #[case] why: &str) {
    let (mut plan, _) = plan(&network(), &dual_stack()).unwrap();
    change(&mut plan);
    let error = plan.check().unwrap_err().to_string();
    assert!(error.contains("Network shop/blue") && error.contains(why), "{error}");
}
