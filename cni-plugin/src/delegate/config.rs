//! What a delegate is given to read: its own object, and what the caller said to all of them.

use knap_protocol::JsonObject;
use serde_json::Value;

use crate::cni_args;
use crate::cni_result::CniResult;
use crate::ledger::Entry;
use crate::valid_attachments::ATTACHMENT_KEYS;
use crate::version::CniVersion;

/// Whether Knap allocates this attachment's addresses: then delegates must not see requests for addresses, or they
/// would give them a second time.
pub(super) fn knap_allocates(plugins: &[JsonObject]) -> bool {
    plugins.iter().any(|plugin| plugin.get("ipam").and_then(|ipam| ipam.get("type")) == Some(&"knap".into()))
}

/// CNI_ARGS for an attachment's delegates.
pub(super) fn cni_args(entry: &Entry) -> String {
    if knap_allocates(&entry.plugins) {
        cni_args::without_addresses(&entry.cni_args)
    } else {
        entry.cni_args.clone()
    }
}

/// One delegate's configuration for ADD, DEL or CHECK of an attachment.
pub(super) fn of_attachment(
    plugin: &JsonObject,
    entry: &Entry,
    version: CniVersion,
    prev_result: Option<&CniResult>,
) -> JsonObject {
    let mut config = with_name(plugin, &entry.config_name, version);
    let allocates = knap_allocates(&entry.plugins);
    let args = merged_args(config.get("args"), &entry.args, allocates);
    put_unless_empty(&mut config, "args", args);
    let runtime_config = declared(plugin, &entry.runtime_config, allocates);
    put_unless_empty(&mut config, "runtimeConfig", runtime_config);
    put_devices(&mut config, entry);
    if let Some(result) = prev_result {
        config.insert("prevResult".to_owned(), Value::Object(result.write(version)));
    }
    config
}

/// One delegate's configuration for GC or STATUS, which are about no attachment. Of two attachments' delegates with
/// the same configuration otherwise, it is equal.
pub(super) fn of_network(
    plugin: &JsonObject,
    name: &str,
    version: CniVersion,
    valid: Option<&[Value]>,
) -> JsonObject {
    let mut config = with_name(plugin, name, version);
    if let Some(ipam) = config.get_mut("ipam").and_then(Value::as_object_mut)
        && ipam.get("type") == Some(&"knap".into())
    {
        ipam.remove("addresses");
    }
    if let Some(valid) = valid {
        for key in ATTACHMENT_KEYS {
            config.insert(key.to_owned(), Value::Array(valid.to_vec()));
        }
    }
    config
}

fn with_name(plugin: &JsonObject, name: &str, version: CniVersion) -> JsonObject {
    let mut config = plugin.clone();
    for ours in ["capabilities", "runtimeConfig", "prevResult"] {
        config.remove(ours);
    }
    config.insert("name".to_owned(), name.into());
    config.insert("cniVersion".to_owned(), version.as_str().into());
    config
}

/// The caller's `args` over the delegate's own.
fn merged_args(own: Option<&Value>, callers: &JsonObject, allocates: bool) -> JsonObject {
    let mut args = own.and_then(Value::as_object).cloned().unwrap_or_default();
    args.extend(callers.clone());
    if allocates && let Some(cni) = args.get_mut("cni").and_then(Value::as_object_mut) {
        cni.remove("ips");
    }
    args
}

/// The capabilities' values that the delegate declares.
fn declared(plugin: &JsonObject, runtime_config: &JsonObject, allocates: bool) -> JsonObject {
    let declares = |name: &str| {
        plugin.get("capabilities").and_then(|capabilities| capabilities.get(name)) == Some(&Value::Bool(true))
    };
    let passes = |name: &str| declares(name) && !(allocates && name == "ips");
    let values = runtime_config.iter().filter(|(name, _)| passes(name));
    values.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// sriov reads the first; host-device the second, or a capability.
fn put_devices(config: &mut JsonObject, entry: &Entry) {
    for (key, value) in [("deviceID", &entry.device_id), ("pciBusID", &entry.pci_bus_id)] {
        if let Some(value) = value {
            config.insert(key.to_owned(), Value::String(value.clone()));
        }
    }
}

fn put_unless_empty(config: &mut JsonObject, key: &str, object: JsonObject) {
    if object.is_empty() {
        config.remove(key);
    } else {
        config.insert(key.to_owned(), Value::Object(object));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delegate::testing::{entry, object};
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    fn managed() -> JsonObject {
        object(json!({
            "type": "bridge", "bridge": "kn1f2e", "vendor": {"key": 1}, "capabilities": {"mac": true, "ips": true},
            "ipam": {"type": "knap", "addresses": [{"address": "10.64.7.5/24"}], "routes": []}
        }))
    }

    #[test]
    fn a_delegate_gets_its_own_keys_and_the_callers() {
        let mut entry = entry(vec![managed()]);
        entry.runtime_config =
            object(json!({"mac": "0a:00:00:00:00:05", "ips": ["10.64.7.9"], "bandwidth": {}}));
        entry.args = object(json!({"cni": {"ips": ["10.64.7.9"], "mac": "02:00:00:00:00:01"}, "other": 1}));
        let result = CniResult::default();
        let config = of_attachment(&entry.plugins[0], &entry, CniVersion::V0_4_0, Some(&result));
        assert_eq!(
            Value::Object(config),
            json!({
                "cniVersion": "0.4.0", "name": "shop.blue", "type": "bridge", "bridge": "kn1f2e",
                "vendor": {"key": 1},
                "ipam": {"type": "knap", "addresses": [{"address": "10.64.7.5/24"}], "routes": []},
                "args": {"cni": {"mac": "02:00:00:00:00:01"}, "other": 1},
                "runtimeConfig": {"mac": "0a:00:00:00:00:05"},
                "prevResult": {"cniVersion": "0.4.0", "dns": {}}
            })
        );
    }

    #[rstest]
    #[case::knap(json!({"type": "knap"}), false)]
    #[case::another(json!({"type": "static"}), true)]
    #[case::none(json!({}), true)]
    fn requests_for_addresses_pass_unless_knap_allocates(#[case] ipam: Value, #[case] passes: bool) {
        let plugin = object(json!({"type": "macvlan", "capabilities": {"ips": true}, "ipam": ipam}));
        let mut entry = entry(vec![plugin]);
        entry.cni_args = "IgnoreUnknown=1;IP=10.0.0.5/24;MAC=02:00:00:00:00:01".to_owned();
        entry.runtime_config = object(json!({"ips": ["10.0.0.5/24"]}));
        entry.args = object(json!({"cni": {"ips": ["10.0.0.5/24"]}}));
        let config = Value::Object(of_attachment(&entry.plugins[0], &entry, CniVersion::V1_0_0, None));
        assert_eq!(config.pointer("/runtimeConfig/ips").is_some(), passes);
        assert_eq!(config.pointer("/args/cni/ips").is_some(), passes);
        assert_eq!(cni_args(&entry).contains("IP="), passes);
        assert!(cni_args(&entry).contains("MAC=02"));
    }

    #[test]
    fn a_device_reaches_all_three_places() {
        let plugin = object(json!({"type": "host-device", "capabilities": {"deviceID": true}}));
        let mut entry = entry(vec![plugin]);
        entry.device_id = Some("0000:00:01.2".to_owned());
        entry.pci_bus_id = Some("0000:00:01.2".to_owned());
        entry.runtime_config = object(json!({"deviceID": "0000:00:01.2"}));
        let config = Value::Object(of_attachment(&entry.plugins[0], &entry, CniVersion::V1_0_0, None));
        for place in ["/deviceID", "/pciBusID", "/runtimeConfig/deviceID"] {
            assert_eq!(config.pointer(place), Some(&json!("0000:00:01.2")), "{place}");
        }
    }

    #[test]
    fn two_attachments_delegates_are_one_for_the_network() {
        let mut other = managed();
        other["ipam"]["addresses"] = json!([{"address": "10.64.7.6/24"}]);
        let of = |plugin: &JsonObject| {
            of_network(plugin, "shop.blue", CniVersion::V1_1_0, Some(&[json!({"ifname": "net1"})]))
        };
        assert_eq!(of(&managed()), of(&other));
        assert_eq!(of(&other)["cni.dev/valid-attachments"], json!([{"ifname": "net1"}]));
        assert_eq!(of(&other)["cni.dev/attachments"], json!([{"ifname": "net1"}]));
    }

    proptest! {
        #[test]
        fn only_declared_capabilities_pass(
            capabilities in prop::collection::btree_map("[a-c]", prop::option::of(any::<bool>()), 0..4),
            given in prop::collection::btree_set("[a-d]", 0..5),
        ) {
            let plugin = object(json!({"type": "x", "capabilities": capabilities}));
            let mut entry = entry(vec![plugin]);
            entry.runtime_config = given.iter().map(|name| (name.clone(), json!(1))).collect();
            let config = of_attachment(&entry.plugins[0], &entry, CniVersion::V1_0_0, None);
            let passed = config.get("runtimeConfig").and_then(Value::as_object).cloned().unwrap_or_default();
            for name in &given {
                prop_assert_eq!(passed.contains_key(name), capabilities.get(name) == Some(&Some(true)));
            }
        }
    }
}
