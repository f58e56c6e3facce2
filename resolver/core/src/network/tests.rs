use rstest::rstest;

use super::*;
use crate::fixture::{network, prefix};

fn requests(subnets: &[&str]) -> NetworkIntent {
    NetworkIntent { subnets: subnets.iter().map(|subnet| prefix(subnet)).collect(), ..network() }
}

fn wants(families: &[IpFamily], network: NetworkIntent) -> NetworkIntent {
    let features = Features { ip_families: families.iter().copied().collect(), ..Features::default() };
    NetworkIntent { requires: Some(features), ..network }
}

#[rstest]
#[case::nothing(network())]
#[case::two_subnets(requests(&["10.64.7.0/24", "10.64.8.0/24", "fd00:64::/64"]))]
#[case::wanted_family(wants(&[IpFamily::IPv6], requests(&["fd00:64::/64"])))]
#[case::layer_2(NetworkIntent { ipam: IpamMode::None, ..network() })]
fn a_network_that_agrees_with_itself_is_taken(#[case] network: NetworkIntent) {
    assert_eq!(network.check(), Ok(()));
}

#[rstest]
#[case::subnets(NetworkIntent { ipam: IpamMode::None, ..requests(&["10.64.7.0/24"]) }, "spec.subnets needs addresses")]
#[case::reserved(
    NetworkIntent { ipam: IpamMode::Dhcp, reserved: vec!["10.64.7.1".parse().unwrap()], ..network() },
    "spec.reserved needs addresses from Knap, but spec.ipam is DHCP"
)]
#[case::host_bits(requests(&["10.64.7.5/24"]), "write 10.64.7.0/24")]
#[case::overlap(requests(&["10.64.0.0/16", "10.65.0.0/24", "10.64.7.0/24"]), "10.64.0.0/16 and 10.64.7.0/24 overlap")]
#[case::family(
    wants(&[IpFamily::IPv6], requests(&["10.64.7.0/24"])),
    "asks for 10.64.7.0/24, but spec.requires.ipFamilies does not name IPv4"
)]
#[case::route(
    NetworkIntent {
        routes: vec![Route { destination: prefix("0.0.0.0/0"), gateway: Some("fd00::1".parse().unwrap()) }],
        ..network()
    },
    "0.0.0.0/0 can't be reached by fd00::1"
)]
fn a_network_that_contradicts_itself_is_refused(#[case] network: NetworkIntent, #[case] why: &str) {
    let error = network.check().unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}
