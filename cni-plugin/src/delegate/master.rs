//! The host's link that a delegate builds on: macvlan, ipvlan and vlan can neither ADD nor DEL without it.

use knap_protocol::{InterfaceName, JsonObject};
use serde_json::Value;

use crate::netlink::Netlink;

/// The delegate's `master`, if it names one that is certainly not on this host.
pub(super) fn missing(plugin: &JsonObject) -> Option<InterfaceName> {
    let master: InterfaceName = plugin.get("master")?.as_str()?.parse().ok()?;
    let found = Netlink::open().and_then(|mut netlink| netlink.link(&master));
    found.is_ok_and(|link: Option<_>| link.is_none()).then_some(master)
}

/// Whether nothing of a delegate can be left once its master is gone: the kernel removed its interface with it, and
/// there is no allocation but Knap's.
pub(super) fn went_with_its_master(plugin: &JsonObject) -> bool {
    let kind = plugin.get("type").and_then(Value::as_str);
    let ipam = plugin.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str);
    matches!(kind, Some("macvlan" | "ipvlan" | "vlan"))
        && matches!(ipam, None | Some("knap"))
        && missing(plugin).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delegate::testing::object;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::gone(json!({"type": "macvlan", "master": "knapnone0", "ipam": {"type": "knap"}}), true)]
    #[case::without_ipam(json!({"type": "ipvlan", "master": "knapnone0"}), true)]
    #[case::there(json!({"type": "macvlan", "master": "lo", "ipam": {"type": "knap"}}), false)]
    #[case::allocated_elsewhere(json!({"type": "macvlan", "master": "knapnone0", "ipam": {"type": "host-local"}}), false)]
    #[case::builds_on_nothing(json!({"type": "bridge", "master": "knapnone0"}), false)]
    #[case::names_none(json!({"type": "macvlan"}), false)]
    fn only_what_the_kernel_took_away_is_gone(#[case] plugin: Value, #[case] gone: bool) {
        assert_eq!(went_with_its_master(&object(plugin)), gone);
    }
}
