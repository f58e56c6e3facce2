use rstest::rstest;
use serde_json::json;

use super::*;
use crate::fixture::{class, network, pool, prefix, uplink};
use crate::{Features, IpamMode};

fn macvlan() -> Class {
    let mut class = class("macvlan", json!({}));
    class.subnets = vec![pool("10.64.0.0/12", 24), pool("fd00:64::/32", 64)];
    class.uplinks = vec![uplink("ens1f0")];
    class
}

#[test]
fn a_decision_is_class_provider_and_needs() {
    let classes = [Class { is_default: true, ..macvlan() }];
    let decision = decide(&network(), &classes, None).unwrap();
    assert_eq!((decision.class.name.as_str(), decision.provider.name()), ("fabric-a", "macvlan"));
    assert_eq!((decision.needs.subnets.len(), decision.needs.routed), (2, false));
    let built_in = NetworkIntent { provider: Some("bridge".into()), ..network() };
    let decision = decide(&built_in, &classes, None).unwrap();
    assert!(decision.needs.routed && decision.needs.exclusive.is_empty());
}

#[rstest]
#[case::intent(
    NetworkIntent { ipam: IpamMode::None, subnets: vec![prefix("10.64.7.0/24")], ..network() },
    macvlan(),
    "spec.subnets needs addresses from Knap, but spec.ipam is None"
)]
#[case::selection(
    NetworkIntent { requires: Some(Features { isolation: true, ..Features::default() }), ..network() },
    macvlan(),
    "\"fabric-a\" does not offer isolation"
)]
#[case::provider(
    network(),
    Class { provider: "acme".into(), ..macvlan() },
    "\"fabric-a\" has provider \"acme\", which does not exist (built in: bridge, macvlan, sriov, host-device, cni)"
)]
#[case::class(
    network(),
    Class { uplinks: Vec::new(), ..macvlan() },
    "NetworkClass \"fabric-a\": provider macvlan needs uplinks"
)]
#[case::needs(
    NetworkIntent { subnets: vec![prefix("10.64.7.0/24")], ..network() },
    macvlan(),
    "\"fabric-a\" does not allow requested subnets"
)]
fn each_step_says_why_there_can_be_no_plan(
    #[case] network: NetworkIntent,
    #[case] class: Class,
    #[case] why: &str,
) {
    let class = Class { is_default: true, ..class };
    let error = decide(&network, [&class], None).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}
