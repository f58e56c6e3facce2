use rstest::rstest;
use serde_json::json;

use super::*;
use crate::fixture::{class, network, pool, prefix, vlans};
use crate::{Features, NumberKind, Route};

fn profile() -> Profile {
    Profile {
        gateway_by_default: true,
        routed: true,
        own_segment: true,
        addresses: true,
        exclusive: Vec::new(),
    }
}

fn dual_stack() -> Class {
    let mut class = class("bridge", json!({}));
    class.subnets = vec![pool("10.64.0.0/16", 24), pool("fd00:64::/32", 64), pool("10.65.0.0/16", 24)];
    class
}

fn requests(subnets: &[&str]) -> NetworkIntent {
    NetworkIntent { subnets: subnets.iter().map(|subnet| prefix(subnet)).collect(), ..network() }
}

fn families(families: &[IpFamily]) -> NetworkIntent {
    let features = Features { ip_families: families.iter().copied().collect(), ..Features::default() };
    NetworkIntent { requires: Some(features), ..network() }
}

/// Each subnet as family, what is requested, and how many pools there are for it.
fn subnets(network: &NetworkIntent, class: &Class) -> Result<Vec<(IpFamily, Option<String>, usize)>, String> {
    let needs = Needs::of(network, class, profile()).map_err(|error| error.to_string())?;
    let short =
        |need: &SubnetNeed| (need.family, need.requested.map(|subnet| subnet.to_string()), need.pools.len());
    Ok(needs.subnets.iter().map(short).collect())
}

#[test]
fn a_network_gets_a_subnet_of_each_family_of_its_class_or_of_those_it_wants() {
    use IpFamily::{IPv4, IPv6};
    let both = vec![(IPv4, None, 2), (IPv6, None, 1)];
    assert_eq!(subnets(&network(), &dual_stack()).unwrap(), both);
    assert_eq!(subnets(&families(&[IPv6]), &dual_stack()).unwrap(), [(IPv6, None, 1)]);
    assert_eq!(subnets(&families(&[IPv4, IPv6]), &dual_stack()).unwrap(), both);
}

#[test]
fn a_requested_subnet_replaces_carving_for_its_family() {
    use IpFamily::{IPv4, IPv6};
    let class = Class { allow_requested_subnets: true, ..dual_stack() };
    assert_eq!(
        subnets(&requests(&["10.65.7.0/24", "10.64.8.0/22"]), &class).unwrap(),
        [(IPv4, Some("10.65.7.0/24".into()), 1), (IPv4, Some("10.64.8.0/22".into()), 1), (IPv6, None, 1)]
    );
    let open = Class { subnets: Vec::new(), ..class };
    let needs = Needs::of(&requests(&["10.9.0.0/24"]), &open, profile()).unwrap();
    assert_eq!(needs.subnets[0].pools[0].cidr(), prefix("10.9.0.0/24"), "a class without space takes any");
}

#[rstest]
#[case::not_allowed(requests(&["10.64.7.0/24"]), dual_stack(), "\"fabric-a\" does not allow requested subnets")]
#[case::outside(
    requests(&["10.66.0.0/24"]),
    Class { allow_requested_subnets: true, ..dual_stack() },
    "10.66.0.0/24 is outside of the address space of NetworkClass \"fabric-a\" (10.64.0.0/16, 10.65.0.0/16)"
)]
#[case::partly_outside(
    requests(&["10.64.0.0/15"]),
    Class { allow_requested_subnets: true, ..dual_stack() },
    "10.64.0.0/15 is outside"
)]
#[case::loopback(
    requests(&["127.0.0.0/24"]),
    Class { allow_requested_subnets: true, ..class("bridge", json!({})) },
    "127.0.0.0/24"
)]
#[case::no_space(network(), class("bridge", json!({})), "\"fabric-a\" has no subnets to give addresses from")]
#[case::no_space_of_a_family(
    families(&[IpFamily::IPv6]),
    Class { subnets: vec![pool("10.64.0.0/16", 24)], ..dual_stack() },
    "\"fabric-a\" has no IPv6 subnets to give addresses from"
)]
fn what_the_class_can_t_give_is_refused(
    #[case] network: NetworkIntent,
    #[case] class: Class,
    #[case] why: &str,
) {
    let error = subnets(&network, &class).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[rstest]
#[case(IpamMode::None)]
#[case(IpamMode::Dhcp)]
fn without_addresses_of_ours_no_subnet_is_needed(#[case] ipam: IpamMode) {
    let network = NetworkIntent { ipam, ..network() };
    let needs = Needs::of(&network, &class("bridge", json!({})), profile()).unwrap();
    assert_eq!((needs.subnets.len(), needs.routed), (0, false));
}

#[test]
fn a_class_that_gives_addresses_itself_takes_no_wishes_about_them() {
    let own = || Profile { addresses: false, ..profile() };
    assert_eq!(Needs::of(&network(), &dual_stack(), own()).unwrap().subnets, []);
    let routed = NetworkIntent {
        routes: vec![Route { destination: prefix("0.0.0.0/0"), gateway: None }],
        ..network()
    };
    for (network, field) in [(requests(&["10.64.7.0/24"]), "spec.subnets"), (routed, "spec.routes")] {
        let error = Needs::of(&network, &dual_stack(), own()).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn numbers_come_from_the_classs_segments() {
    let needs = |segments| Needs::of(&network(), &Class { segments, ..dual_stack() }, profile()).unwrap();
    assert!(needs(vlans("100-199")).vlans.is_some_and(|vlans| vlans.contains(100)));
    let vnis = NumberRanges::parse(NumberKind::Vni, ["10000-19999"]).unwrap();
    let needs = needs(Some(Segments::Vxlan { vnis: vnis.clone(), port: 4789 }));
    assert_eq!((needs.vlans, needs.vnis), (None, Some(vnis)));
}

#[rstest]
#[case::cluster(AddressScope::Cluster, vlans("100"), true, "cluster")]
#[case::vlan(AddressScope::Segment, vlans("100"), true, "vlan-fabric-a-100")]
#[case::own(AddressScope::Segment, None, true, "network-1f2e")]
#[case::wire(AddressScope::Segment, None, false, "fabric-fabric-a")]
fn addresses_are_unique_in_the_cluster_or_on_the_segment(
    #[case] address_scope: AddressScope,
    #[case] segments: Option<Segments>,
    #[case] own_segment: bool,
    #[case] expected: &str,
) {
    let vlan = segments.as_ref().map(|_| 100);
    let class = Class { address_scope, segments, ..dual_stack() };
    let needs = Needs::of(&network(), &class, Profile { own_segment, ..profile() }).unwrap();
    assert_eq!(needs.address_scope(MacCode::new(0x1f2e).unwrap(), vlan, None), expected);
}

#[test]
fn a_vni_is_a_scope_of_the_whole_cluster() {
    let vnis = NumberRanges::parse(NumberKind::Vni, ["10000"]).unwrap();
    let segments = Some(Segments::Vxlan { vnis, port: 4789 });
    let class = Class { address_scope: AddressScope::Segment, segments, ..dual_stack() };
    let needs = Needs::of(&network(), &class, profile()).unwrap();
    assert_eq!(needs.address_scope(MacCode::new(0x1f2e).unwrap(), None, Some(10_000)), "vni-10000");
}
