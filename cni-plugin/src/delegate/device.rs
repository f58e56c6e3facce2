//! Devices that delegates move into the sandbox.

use knap_protocol::JsonObject;
use serde_json::Value;

use crate::ledger::Entry;

/// Whether a delegate that moves a device into the sandbox is told of none.
pub(super) fn is_lacking(name: &str, plugin: &JsonObject, entry: &Entry) -> bool {
    let own: &[&str] = match name {
        "sriov" => &["deviceID"],
        "host-device" => &["device", "hwaddr", "kernelpath", "pciBusID"],
        _ => return false,
    };
    let named = |key: &str| plugin.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    entry.device_id.is_none() && !own.iter().any(|key| named(key))
}
