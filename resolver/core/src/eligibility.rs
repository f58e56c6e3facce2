//! Which nodes can serve which class, and why others can't (design: scheduling).

use std::collections::BTreeSet;

use crate::{Class, FenceReason, Labels, Uplink, provider};

/// The plugin that IPAM by DHCP runs.
const DHCP: &str = "dhcp";

/// What a node must have so that a class's Networks can be attached to there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNeeds {
    /// One of these, the first that matches; nothing where there are none.
    pub uplinks: Vec<Uplink>,
    /// Something of this resource.
    pub resource: Option<String>,
    /// All of these CNI plugins.
    pub delegates: BTreeSet<String>,
}

impl NodeNeeds {
    /// Of a class. One of an unknown provider runs nothing.
    pub fn of(class: &Class) -> Self {
        let delegates = provider::provider(&class.provider).map(|provider| provider.delegates(class));
        Self {
            uplinks: class.uplinks.clone(),
            resource: class.resource_name.clone(),
            delegates: delegates.unwrap_or_default(),
        }
    }

    /// Of Networks whose addresses come by DHCP.
    #[must_use]
    pub fn with_dhcp(mut self) -> Self {
        self.delegates.insert(DHCP.to_owned());
        self
    }
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Equipment {
    /// Its labels.
    pub labels: Labels,
    /// Resources of device plugins that it has something of.
    pub resources: BTreeSet<String>,
    /// What its agent found; none while there is no word of it.
    pub found: Option<Found>,
    /// Whether its present boot is fenced, and why.
    pub fenced: Option<FenceReason>,
}

/// What a node's agent found there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Names of links that can be an uplink.
    pub interfaces: BTreeSet<String>,
    /// CNI plugins that are installed.
    pub delegates: BTreeSet<String>,
}

/// Why a node can't serve a class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nothing is attached there.
    #[error("it is fenced ({})", .0.name())]
    Fenced(FenceReason),
    /// Its agent has not said what is there.
    #[error("its agent has not reported an inventory")]
    Unknown,
    /// The class names no uplink for it.
    #[error("no uplink of the class is for a node with its labels")]
    NoUplink,
    /// The uplink that the class names is not there.
    #[error("it has no interface {0}")]
    UplinkMissing(String),
    /// Its device plugin offers nothing of the class's resource.
    #[error("it has nothing of resource {0}")]
    ResourceMissing(String),
    /// CNI plugins are not installed.
    #[error("CNI plugins are not installed: {}", .0.join(", "))]
    DelegatesMissing(Vec<String>),
}

/// Whether a node can serve.
///
/// # Errors
/// The first thing that is in the way.
pub fn check_node(needs: &NodeNeeds, node: &Equipment) -> Result<(), Unfit> {
    if let Some(reason) = node.fenced {
        return Err(Unfit::Fenced(reason));
    }
    let found = node.found.as_ref().ok_or(Unfit::Unknown)?;
    if !needs.uplinks.is_empty() {
        let uplink = needs.uplinks.iter().find(|uplink| uplink.serves(Some(&node.labels)));
        let interface = &uplink.ok_or(Unfit::NoUplink)?.interface;
        if !found.interfaces.contains(interface) {
            return Err(Unfit::UplinkMissing(interface.clone()));
        }
    }
    if let Some(resource) = needs.resource.as_ref().filter(|resource| !node.resources.contains(*resource)) {
        return Err(Unfit::ResourceMissing(resource.clone()));
    }
    let missing: Vec<String> = needs.delegates.difference(&found.delegates).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(Unfit::DelegatesMissing(missing)) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn class(provider: &str, parameters: Value) -> Class {
        let mut class = Class::new("fab", provider);
        class.parameters = serde_json::from_value(parameters).unwrap();
        class
    }

    fn uplinks(uplinks: Value) -> Vec<Uplink> {
        serde_json::from_value(uplinks).unwrap()
    }

    fn node() -> Equipment {
        Equipment {
            labels: [("rack".to_owned(), "a".to_owned())].into(),
            resources: names(&["vendor.com/pool"]),
            found: Some(Found { interfaces: names(&["ens1f0"]), delegates: names(&["bridge", "macvlan"]) }),
            fenced: None,
        }
    }

    #[rstest]
    #[case::bridge("bridge", json!({}), &["bridge"])]
    #[case::macvlan("macvlan", json!({}), &["macvlan"])]
    #[case::sriov("sriov", json!({}), &["sriov"])]
    #[case::device("host-device", json!({}), &["host-device"])]
    #[case::device_with_mac("host-device", json!({"mac": "lease"}), &["host-device", "tuning"])]
    #[case::template(
        "cni",
        json!({"plugins": [{"type": "ptp", "ipam": {"type": "knap"}}, {"type": "vlan", "ipam": {"type": "host-local"}}]}),
        &["host-local", "ptp", "vlan"]
    )]
    #[case::unknown("elsewhere", json!({}), &[])]
    fn a_class_needs_the_plugins_that_it_runs(
        #[case] provider: &str,
        #[case] parameters: Value,
        #[case] expected: &[&str],
    ) {
        let needs = NodeNeeds::of(&class(provider, parameters));
        assert_eq!(needs.delegates, names(expected));
        assert!(needs.with_dhcp().delegates.contains("dhcp"));
    }

    #[test]
    fn a_bridge_of_each_nodes_own_needs_the_plugin_alone() {
        let needs = NodeNeeds::of(&class("bridge", json!({})));
        assert_eq!(check_node(&needs, &node()), Ok(()));
        let bare = Equipment { found: Some(Found::default()), ..node() };
        assert_eq!(check_node(&needs, &bare), Err(Unfit::DelegatesMissing(vec!["bridge".to_owned()])));
        let silent = Equipment { found: None, ..node() };
        assert_eq!(check_node(&needs, &silent), Err(Unfit::Unknown));
        let fenced = Equipment { fenced: Some(FenceReason::Quarantined), ..node() };
        assert_eq!(check_node(&needs, &fenced), Err(Unfit::Fenced(FenceReason::Quarantined)));
    }

    #[rstest]
    #[case::for_all(json!([{"interface": "ens1f0"}]), Ok(()))]
    #[case::for_its_rack(
        json!([{"nodeSelector": {"matchLabels": {"rack": "a"}}, "interface": "ens1f0"}, {"interface": "eno9"}]), Ok(())
    )]
    #[case::first_match_wins(
        json!([{"interface": "eno9"}, {"nodeSelector": {"matchLabels": {"rack": "a"}}, "interface": "ens1f0"}]),
        Err(Unfit::UplinkMissing("eno9".to_owned()))
    )]
    #[case::for_others(
        json!([{"nodeSelector": {"matchLabels": {"rack": "b"}}, "interface": "ens1f0"}]), Err(Unfit::NoUplink)
    )]
    fn the_nodes_uplink_must_be_there(#[case] of_class: Value, #[case] expected: Result<(), Unfit>) {
        let class = Class { uplinks: uplinks(of_class), ..class("macvlan", json!({})) };
        assert_eq!(check_node(&NodeNeeds::of(&class), &node()), expected);
    }

    #[test]
    fn the_classs_resource_must_be_there() {
        let of = |resource: &str| NodeNeeds { resource: Some(resource.to_owned()), ..NodeNeeds::default() };
        assert_eq!(check_node(&of("vendor.com/pool"), &node()), Ok(()));
        let missing = Err(Unfit::ResourceMissing("vendor.com/other".to_owned()));
        assert_eq!(check_node(&of("vendor.com/other"), &node()), missing);
    }
}
