//! What an answer may hold, whoever made it.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn check(attachment: Value) -> Result<(), String> {
    let attachment: Attachment = serde_json::from_value(attachment).map_err(|error| error.to_string())?;
    attachment.check().map_err(|error| error.to_string())
}

fn with_plugin(plugin: Value) -> Value {
    let mut attachment = json!({});
    attachment["plugins"] = Value::Array(vec![plugin]);
    attachment
}

fn with_link(link: Value) -> Value {
    let mut attachment = with_plugin(json!({"type": "bridge"}));
    attachment["hostLinks"] = Value::Array(vec![link]);
    attachment
}

#[rstest]
#[case(with_plugin(json!({"type": "bridge", "ipam": {}})))]
#[case(with_plugin(json!({"type": "ib-sriov", "ipam": {"type": "knap", "addresses": []}, "capabilities": {"mac": true}})))]
#[case(with_link(json!({"kind": "bridge", "name": "kn1a2b3c4d5e6f7", "owner": "uid", "mtu": 68, "uplink": "eth0.1"})))]
#[case(json!({"plugins": [{"type": "bridge"}], "mtu": 65535, "note": "unknown keys are ignored"}))]
fn what_can_be_run_is_taken(#[case] attachment: Value) {
    assert_eq!(check(attachment), Ok(()));
}

#[rstest]
#[case::nothing(json!({"plugins": []}), "no plugin")]
#[case::no_type(with_plugin(json!({"ipam": {}})), "plugin 1 of the provider's answer has no type")]
#[case::number(with_plugin(json!({"type": 7})), "has no type")]
#[case::empty(with_plugin(json!({"type": ""})), "can't be a delegate")]
#[case::absolute(with_plugin(json!({"type": "/bin/sh"})), "can't be a delegate")]
#[case::relative(with_plugin(json!({"type": "..\u{0}"})), "can't be a delegate")]
#[case::parent(with_plugin(json!({"type": ".."})), "can't be a delegate")]
#[case::ourselves(with_plugin(json!({"type": "knap"})), "can't be a delegate")]
#[case::multus(with_plugin(json!({"type": "multus"})), "can't be a delegate")]
#[case::shim(with_plugin(json!({"type": "multus-shim"})), "can't be a delegate")]
#[case::ipam_path(with_plugin(json!({"type": "bridge", "ipam": {"type": "a/b"}})), "ipam type \"a/b\"")]
#[case::ipam_multus(with_plugin(json!({"type": "bridge", "ipam": {"type": "multus"}})), "ipam type \"multus\"")]
#[case::ipam_list(with_plugin(json!({"type": "bridge", "ipam": []})), "\"ipam\" in another shape")]
#[case::ipam_number(with_plugin(json!({"type": "bridge", "ipam": {"type": 1}})), "\"ipam\" in another shape")]
#[case::capabilities(with_plugin(json!({"type": "bridge", "capabilities": {"mac": "yes"}})), "an object of booleans")]
#[case::foreign_link(with_link(json!({"kind": "bridge", "name": "cni0", "owner": "u"})), "names begin with kn")]
#[case::short_link(with_link(json!({"kind": "bridge", "name": "kn", "owner": "u"})), "names begin with kn")]
#[case::long_link(with_link(json!({"kind": "bridge", "name": "kn34567890123456", "owner": "u"})), "15 bytes")]
#[case::link_path(with_link(json!({"kind": "bridge", "name": "kn/../x", "owner": "u"})), "names begin with kn")]
#[case::nobodys(with_link(json!({"kind": "bridge", "name": "kn1", "owner": ""})), "has no owner")]
#[case::kind(with_link(json!({"kind": "bond", "name": "kn1", "owner": "u"})), "unknown variant `bond`")]
#[case::uplink(with_link(json!({"kind": "bridge", "name": "kn1", "owner": "u", "uplink": "a b"})), "uplink \"a b\"")]
#[case::link_mtu(with_link(json!({"kind": "bridge", "name": "kn1", "owner": "u", "mtu": 67})), "MTU 67")]
#[case::mtu(json!({"plugins": [{"type": "bridge"}], "mtu": 65536}), "MTU 65536")]
#[case::twice(
    json!({"plugins": [{"type": "bridge"}], "hostLinks": [
        {"kind": "bridge", "name": "kn1", "owner": "u"}, {"kind": "bridge", "name": "kn1", "owner": "v"}
    ]}),
    "\"kn1\" is in the provider's answer twice"
)]
fn what_must_not_be_run_is_refused(#[case] attachment: Value, #[case] why: &str) {
    let error = check(attachment).unwrap_err();
    assert!(error.contains(why), "{error}");
}
