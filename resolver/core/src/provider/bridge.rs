//! Provider `bridge`: a Linux bridge per Network on each node, by CNI's bridge plugin.
//!
//! Without uplinks the bridge is each node's own. With uplinks the node's uplink becomes its port, untagged, so that
//! one wire carries one such Network.

use super::parameter::{self, Parameter};
use super::{
    Attachment, HostLink, HostLinkKind, LeaseFacts, NodeFacts, Provider, ProviderError, ipam, uplink_of,
};
use crate::needs::uplink_name;
use crate::{Class, Grant, IpamMode, NetworkIntent, Plan, Pool, Profile};

/// As classes call it.
pub(crate) const NAME: &str = "bridge";

const IS_GATEWAY: &str = "isGateway";
const IS_DEFAULT_GATEWAY: &str = "isDefaultGateway";
const HAIRPIN: &str = "hairpinMode";
const PROMISCUOUS: &str = "promiscMode";

/// All are the bridge plugin's own, and are handed to it. Not among them: `bridge` and `mtu`, which are ours to say,
/// `vlan` and `vlanTrunk`, which need a bridge with VLAN filtering, and `forceAddress`, which a bridge of one
/// Network has no use for.
const PARAMETERS: [Parameter; 7] = [
    Parameter::flag(IS_GATEWAY),
    Parameter::flag(IS_DEFAULT_GATEWAY),
    Parameter::flag("ipMasq"),
    Parameter::flag(HAIRPIN),
    Parameter::flag(PROMISCUOUS),
    Parameter::flag("macspoofchk"),
    Parameter::flag("enabledad"),
];

/// See the module.
#[derive(Debug)]
pub(super) struct Bridge;

impl Provider for Bridge {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self, class: &Class) -> Result<(), ProviderError> {
        parameter::check(NAME, &PARAMETERS, &class.parameters)?;
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
                remedy: "remove it, and name uplinks where the bridge has to reach outside",
            });
        }
        check_flags(class)
    }

    fn profile(&self, class: &Class) -> Profile {
        let exclusive = if class.uplinks.is_empty() {
            Vec::new()
        } else {
            // A link is the port of one bridge at most.
            vec![uplink_name(&class.fabric)]
        };
        Profile {
            // Where the bridge does not hold it, only the administrator knows who does.
            gateway_by_default: holds_gateway(class),
            routed: holds_gateway(class),
            own_segment: class.uplinks.is_empty(),
            addresses: true,
            exclusive,
        }
    }

    fn plan(&self, network: &NetworkIntent, class: &Class, grant: &Grant) -> Result<Plan, ProviderError> {
        let mut plan = Plan::of(network, class, grant)?;
        let holds_gateway = plan.ipam == IpamMode::Managed && holds_gateway(class);
        if holds_gateway {
            check_gateways(&plan)?;
        }
        plan.segment.bridge = Some(format!("kn{}", grant.mac_code));
        plan.parameters.insert(IS_GATEWAY.to_owned(), holds_gateway.into());
        if !holds_gateway {
            // The plugin would make the bridge a gateway for this one alone.
            plan.parameters.remove(IS_DEFAULT_GATEWAY);
        }
        Ok(plan)
    }

    fn configs(
        &self,
        plan: &Plan,
        node: &NodeFacts,
        lease: &LeaseFacts,
    ) -> Result<Attachment, ProviderError> {
        parameter::check(NAME, &PARAMETERS, &plan.parameters)?;
        let bridge = plan.segment.bridge.clone().ok_or(ProviderError::Missing {
            provider: NAME,
            field: "segment.bridge",
            remedy: "make the plan anew",
        })?;
        let port =
            if plan.uplinks.is_empty() { None } else { Some(uplink_of(plan, node)?.interface.clone()) };
        let mut config = ipam::delegate(NAME, &["mac"], plan, lease)?;
        config.extend(plan.parameters.clone());
        config.insert("bridge".to_owned(), bridge.clone().into());
        if let Some(mtu) = plan.mtu {
            config.insert("mtu".to_owned(), mtu.into());
        }
        let link = HostLink {
            kind: HostLinkKind::Bridge,
            name: bridge,
            owner: plan.network.uid.clone(),
            mtu: plan.mtu,
            uplink: port,
        };
        Ok(Attachment { plugins: vec![config], host_links: vec![link], mtu: plan.mtu })
    }
}

/// Whether the bridge on each host has the gateway's address. Where nothing is said: if each subnet has a gateway,
/// it is of this Network alone, and no uplink joins the nodes' bridges, which would all have that address.
fn holds_gateway(class: &Class) -> bool {
    asked_gateway(class).unwrap_or_else(|| {
        class.uplinks.is_empty() && !without_gateway(class) && !class.subnets.iter().any(Pool::shared)
    })
}

/// Without a gateway the plugin would take the first address all the same, which may be somebody's. A subnet that a
/// Network asked for can be without.
fn check_gateways(plan: &Plan) -> Result<(), ProviderError> {
    match plan.subnets.iter().find(|subnet| subnet.gateway.is_none()) {
        Some(subnet) => Err(ProviderError::Contradiction {
            what: format!(
                "subnet {} of Network {} has no gateway address for the bridge to hold",
                subnet.cidr, plan.network
            ),
            remedy: "ask for a larger subnet or one with the class's gateway, or use a class with isGateway: false",
        }),
        None => Ok(()),
    }
}

/// What the parameters say of it, if anything.
fn asked_gateway(class: &Class) -> Option<bool> {
    let default = parameter::flag(&class.parameters, IS_DEFAULT_GATEWAY).filter(|is_default| *is_default);
    parameter::flag(&class.parameters, IS_GATEWAY).or(default)
}

fn without_gateway(class: &Class) -> bool {
    class.subnets.iter().any(|pool| pool.subnet(pool.cidr(), true).gateway.is_none())
}

fn check_flags(class: &Class) -> Result<(), ProviderError> {
    let is_set = |name| parameter::flag(&class.parameters, name) == Some(true);
    let refuse = |what: String, remedy| Err(ProviderError::Contradiction { what, remedy });
    if is_set(HAIRPIN) && is_set(PROMISCUOUS) {
        return refuse(format!("{HAIRPIN} and {PROMISCUOUS} exclude each other"), "set one of them");
    }
    if is_set(IS_DEFAULT_GATEWAY) && parameter::flag(&class.parameters, IS_GATEWAY) == Some(false) {
        return refuse(
            format!("{IS_DEFAULT_GATEWAY} makes the bridge a gateway, which {IS_GATEWAY}: false forbids"),
            "remove one of them",
        );
    }
    if asked_gateway(class) != Some(true) {
        return Ok(());
    }
    if without_gateway(class) {
        return refuse(
            format!(
                "{IS_GATEWAY} gives the bridge the subnet's gateway address, and a subnet has gateway: None"
            ),
            "say First there, or set isGateway: false",
        );
    }
    if class.subnets.iter().any(Pool::shared) {
        return refuse(
            format!(
                "{IS_GATEWAY} gives each Network's bridge the gateway of a shared subnet, so several have one"
            ),
            "set isGateway: false and let the router on the uplink be the gateway",
        );
    }
    Ok(())
}
