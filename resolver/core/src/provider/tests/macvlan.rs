//! Provider `macvlan`.

use rstest::rstest;
use serde_json::{Value, json};

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
    "it must be \"bridge\" or \"private\" or \"vepa\""
)]
#[case::for_one_alone(
    Class { parameters: class("macvlan", json!({"mode": "passthru"})).parameters, ..racks() },
    "can't be \"passthru\": it must be \"bridge\" or \"private\" or \"vepa\""
)]
#[case::master(
    Class { parameters: class("macvlan", json!({"master": "eth0"})).parameters, ..racks() },
    "has no parameter \"master\": remove it (known: mode)"
)]
fn refuses_classes(#[case] class: Class, #[case] why: &str) {
    let error = message(attachment(&network(), &class));
    assert!(error.contains(why), "{error}");
}
