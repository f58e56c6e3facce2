//! Provider `sriov`: virtual functions of a network card, by the SR-IOV CNI plugin.
//!
//! The device plugin chooses the function and Multus passes it at run time, so that no configuration names it. The
//! physical function's MTU rules.

use serde_json::Value;

use super::parameter::{self, Parameter};
use super::{Attachment, LeaseFacts, NodeFacts, Provider, ProviderError, device, ipam};
use crate::{Class, Grant, NetworkIntent, Plan, Profile, Segments};

const NAME: &str = "sriov";

const VLAN_QOS: &str = "vlanQoS";
const VLAN_PROTOCOL: &str = "vlanProto";
const MIN_RATE: &str = "min_tx_rate";
const MAX_RATE: &str = "max_tx_rate";
const SWITCH: [&str; 2] = ["on", "off"];

/// All are the plugin's own, and are handed to it. Rates are in Mbit/s, 0 for no limit.
const PARAMETERS: [Parameter; 7] = [
    Parameter::word("spoofchk", &SWITCH),
    Parameter::word("trust", &SWITCH),
    Parameter::word("link_state", &["auto", "enable", "disable"]),
    Parameter::number(MIN_RATE, 0..=u32::MAX as u64),
    Parameter::number(MAX_RATE, 0..=u32::MAX as u64),
    Parameter::number(VLAN_QOS, 0..=7),
    Parameter::word(VLAN_PROTOCOL, &["802.1q", "802.1Q", "802.1ad"]),
];

/// See the module.
#[derive(Debug)]
pub(super) struct Sriov;

impl Provider for Sriov {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self, class: &Class) -> Result<(), ProviderError> {
        parameter::check(NAME, &PARAMETERS, &class.parameters)?;
        device::check(NAME, class)?;
        if matches!(class.segments, Some(Segments::Vxlan { .. })) {
            return Err(ProviderError::Unsupported {
                provider: NAME,
                field: "segments.vxlan",
                remedy: "give segments.vlans, which the card tags",
            });
        }
        check_rates(class)?;
        let of_vlans = [VLAN_QOS, VLAN_PROTOCOL];
        match of_vlans
            .into_iter()
            .find(|name| class.segments.is_none() && class.parameters.contains_key(*name))
        {
            Some(name) => Err(ProviderError::Contradiction {
                what: format!("parameter {name:?} is about VLANs, and the class has none"),
                remedy: "give segments.vlans, or remove the parameter",
            }),
            None => Ok(()),
        }
    }

    fn profile(&self, _class: &Class) -> Profile {
        device::profile()
    }

    fn plan(&self, network: &NetworkIntent, class: &Class, grant: &Grant) -> Result<Plan, ProviderError> {
        let mut plan = Plan::of(network, class, grant)?;
        plan.needs_device = true;
        Ok(plan)
    }

    fn configs(
        &self,
        plan: &Plan,
        _node: &NodeFacts,
        lease: &LeaseFacts,
    ) -> Result<Attachment, ProviderError> {
        parameter::check(NAME, &PARAMETERS, &plan.parameters)?;
        let mut config = ipam::delegate(NAME, &["deviceID", "mac"], plan, lease)?;
        config.extend(plan.parameters.clone());
        if let Some(vlan) = plan.segment.vlan {
            config.insert("vlan".to_owned(), vlan.into());
        }
        Ok(Attachment { plugins: vec![config], host_links: Vec::new(), mtu: None })
    }
}

fn check_rates(class: &Class) -> Result<(), ProviderError> {
    let rate = |name| class.parameters.get(name).and_then(Value::as_u64).filter(|rate| *rate > 0);
    match (rate(MIN_RATE), rate(MAX_RATE)) {
        (Some(min), Some(max)) if min > max => Err(ProviderError::Contradiction {
            what: format!("{MIN_RATE} {min} is above {MAX_RATE} {max}"),
            remedy: "lower the one or raise the other",
        }),
        _ => Ok(()),
    }
}
