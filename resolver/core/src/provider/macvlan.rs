//! Provider `macvlan`: interfaces on the node's uplink, by CNI's macvlan plugin.

use super::parameter::{self, Parameter};
use super::{Attachment, LeaseFacts, NodeFacts, Provider, ProviderError, ipam, uplink_of};
use crate::{Class, Grant, NetworkIntent, Plan, Profile};

const NAME: &str = "macvlan";

/// Not among the modes: `passthru`, which gives the uplink to one interface of the node alone, and to that the uplink's
/// hardware address instead of the lease's.
const PARAMETERS: [Parameter; 1] = [Parameter::word("mode", &["bridge", "private", "vepa"])];

/// See the module.
#[derive(Debug)]
pub(super) struct Macvlan;

impl Provider for Macvlan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self, class: &Class) -> Result<(), ProviderError> {
        parameter::check(NAME, &PARAMETERS, &class.parameters)?;
        if class.uplinks.is_empty() {
            // Without a master the plugin takes the default route's interface: the cluster's own network.
            return Err(ProviderError::Missing {
                provider: NAME,
                field: "uplinks",
                remedy: "name the interface of each kind of node",
            });
        }
        if class.segments.is_some() {
            return Err(ProviderError::Unsupported {
                provider: NAME,
                field: "segments",
                remedy: "remove it, and name an uplink that is a VLAN interface already (ens1f0.100), or use \
                         provider sriov",
            });
        }
        if class.resource_name.is_some() {
            return Err(ProviderError::Unsupported {
                provider: NAME,
                field: "resourceName",
                remedy: "remove it, or use provider sriov or host-device",
            });
        }
        Ok(())
    }

    fn profile(&self, _class: &Class) -> Profile {
        Profile {
            gateway_by_default: false,
            routed: false,
            own_segment: false,
            addresses: true,
            exclusive: Vec::new(),
        }
    }

    fn plan(&self, network: &NetworkIntent, class: &Class, grant: &Grant) -> Result<Plan, ProviderError> {
        Ok(Plan::of(network, class, grant)?)
    }

    fn configs(
        &self,
        plan: &Plan,
        node: &NodeFacts,
        lease: &LeaseFacts,
    ) -> Result<Attachment, ProviderError> {
        parameter::check(NAME, &PARAMETERS, &plan.parameters)?;
        let mut config = ipam::delegate(NAME, &["mac"], plan, lease)?;
        config.insert("mode".to_owned(), "bridge".into());
        config.extend(plan.parameters.clone());
        config.insert("master".to_owned(), uplink_of(plan, node)?.interface.clone().into());
        if let Some(mtu) = plan.mtu {
            config.insert("mtu".to_owned(), mtu.into());
        }
        Ok(Attachment { plugins: vec![config], host_links: Vec::new(), mtu: plan.mtu })
    }
}
