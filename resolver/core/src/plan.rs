//! A plan: what a Network became, once a class has been chosen and everything that it needs is reserved.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::{
    Class, Dns, IpFamily, IpamMode, JsonObject, Layout, MacCode, NetworkIntent, NetworkRef, Route, Subnet,
    Uplink,
};

#[cfg(test)]
mod tests;

/// What has been reserved for a Network.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The two bytes of its MAC addresses and link names.
    pub mac_code: MacCode,
    /// Its VLAN, where its class has VLANs.
    pub vlan: Option<u16>,
    /// Its VXLAN identifier, where its class has those.
    pub vni: Option<u32>,
    /// Its subnets; without addresses where its needs say so.
    pub layout: Layout,
}

/// The broadcast domain of a Network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Segment {
    /// 802.1Q.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// VXLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// Name of the bridge on every node, `kn1f2e`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

/// Where an attachment's hardware address comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MacSource {
    /// From the lease's slot, or asked for by the pod.
    #[default]
    Lease,
    /// It is the device's, or is shared with the parent: leases carry none, and none can be asked for.
    Device,
}

/// What a Network became: all that a node's configurations are made of, but for the node and the lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The Network.
    pub network: NetworkRef,
    /// Name of its class.
    pub class: String,
    /// Who made the plan, and makes the configurations.
    pub provider: String,
    /// The broadcast domain.
    #[serde(default)]
    pub segment: Segment,
    /// Bytes; absent where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Who gives out addresses.
    #[serde(default)]
    pub ipam: IpamMode,
    /// Subnets, where Knap gives out addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<Subnet>,
    /// Where hardware addresses come from.
    #[serde(default)]
    pub mac: MacSource,
    /// Routes of every attachment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Name resolution of every attachment.
    #[serde(default, skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
    /// The interface to use, per node: first match wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uplinks: Vec<Uplink>,
    /// The device plugin's resource, whose devices are attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// Whether an attachment needs a device of that resource, and must be refused without one.
    #[serde(default)]
    pub needs_device: bool,
    /// The provider's own.
    #[serde(default, skip_serializing_if = "JsonObject::is_empty")]
    pub parameters: JsonObject,
}

/// A plan that can't be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A route that no attachment could use.
    #[error(
        "spec.routes: {destination} is reached by {gateway}, which is in no subnet of Network {network} ({subnets}): \
         name a gateway inside one"
    )]
    RouteGatewayOutside {
        /// `namespace/name` of the Network.
        network: String,
        /// The route's destination.
        destination: IpNetwork,
        /// Its gateway.
        gateway: IpAddr,
        /// What is within reach.
        subnets: String,
    },
    /// A route of a family that attachments have no address of.
    #[error(
        "spec.routes: Network {network} has no subnet of the IP family of {destination}: remove the route"
    )]
    RouteFamily {
        /// `namespace/name` of the Network.
        network: String,
        /// The route's destination.
        destination: IpNetwork,
    },
    /// A number that links can't have.
    #[error("the plan of Network {network} has {what} {value}, outside {bounds}")]
    OutOfBounds {
        /// `namespace/name` of the Network.
        network: String,
        /// MTU, VLAN or VNI.
        what: &'static str,
        /// The number.
        value: u32,
        /// From and to.
        bounds: &'static str,
    },
    /// A name that the kernel would refuse.
    #[error("the plan of Network {network} names {name:?}, which can't be an interface")]
    InterfaceName {
        /// `namespace/name` of the Network.
        network: String,
        /// The name.
        name: String,
    },
    /// A device is needed, of no resource.
    #[error("the plan of Network {network} needs a device, but names no resource that has them")]
    NoResource {
        /// `namespace/name` of the Network.
        network: String,
    },
}

impl Plan {
    /// What every provider's plan begins as: the Network's wishes, the class's knowledge, and what was granted.
    pub fn of(network: &NetworkIntent, class: &Class, grant: &Grant) -> Result<Self, PlanError> {
        let subnets = grant.layout.subnets().to_vec();
        let ipam = match network.ipam {
            IpamMode::Managed if subnets.is_empty() => IpamMode::None,
            ipam => ipam,
        };
        let plan = Self {
            network: network.owner.clone(),
            class: class.name.clone(),
            provider: class.provider.clone(),
            segment: Segment { vlan: grant.vlan, vni: grant.vni, bridge: None },
            mtu: class.features.mtu,
            ipam,
            subnets,
            mac: MacSource::Lease,
            routes: network.routes.clone(),
            dns: network.dns.clone(),
            uplinks: class.uplinks.clone(),
            resource_name: class.resource_name.clone(),
            needs_device: false,
            parameters: class.parameters.clone(),
        };
        plan.check()?;
        Ok(plan)
    }

    /// Refuses what can't be served, whoever made the plan: external providers answer it as JSON.
    pub fn check(&self) -> Result<(), PlanError> {
        self.check_numbers()?;
        let names = self.uplinks.iter().map(|uplink| &uplink.interface).chain(&self.segment.bridge);
        if let Some(name) = names.into_iter().find(|name| !is_interface_name(name)) {
            return Err(PlanError::InterfaceName { network: self.network.to_string(), name: name.clone() });
        }
        if self.needs_device && self.resource_name.is_none() {
            return Err(PlanError::NoResource { network: self.network.to_string() });
        }
        self.routes.iter().try_for_each(|route| self.check_route(route))
    }

    /// The subnet that an address belongs to.
    pub fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.cidr.contains(address))
    }

    fn check_numbers(&self) -> Result<(), PlanError> {
        let numbers = [
            ("MTU", self.mtu, 68..=65_535, "68 to 65535"),
            ("VLAN", self.segment.vlan.map(u32::from), 1..=4_094, "1 to 4094"),
            ("VNI", self.segment.vni, 1..=16_777_215, "1 to 16777215"),
        ];
        for (what, value, allowed, bounds) in numbers {
            if let Some(value) = value.filter(|value| !allowed.contains(value)) {
                return Err(PlanError::OutOfBounds {
                    network: self.network.to_string(),
                    what,
                    value,
                    bounds,
                });
            }
        }
        Ok(())
    }

    fn check_route(&self, route: &Route) -> Result<(), PlanError> {
        let (network, destination) = (self.network.to_string(), route.destination);
        let family = IpFamily::of(destination.ip());
        if !self.subnets.iter().any(|subnet| subnet.family() == family) {
            return Err(PlanError::RouteFamily { network, destination });
        }
        match route.gateway {
            Some(gateway) if !self.subnets.iter().any(|subnet| subnet.link().contains(gateway)) => {
                let links: Vec<_> = self.subnets.iter().map(|subnet| subnet.link().to_string()).collect();
                let subnets = links.join(", ");
                Err(PlanError::RouteGatewayOutside { network, destination, gateway, subnets })
            }
            _ => Ok(()),
        }
    }
}

/// What the kernel takes as an interface's name.
pub(crate) fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}
