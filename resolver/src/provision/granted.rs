//! What a Network has been granted, as its status records it: the one record of slot bases, and what attachments are
//! served from on every replica.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use knap_api::{Network, StatusSubnet};
use knap_core::{Class, Grant, MacCode, Slot, Subnet};

use super::reserved::Thing;

/// The parts of a Network's status that attachments depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) class: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) mac_code: Option<MacCode>,
    pub(crate) vlan: Option<u16>,
    pub(crate) vni: Option<u32>,
    /// In the order of the status.
    pub(crate) subnets: Vec<Subnet>,
}

/// A status that somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("status.{field} of Network {network} holds {value:?}, which Knap did not write: remove the status")]
pub(crate) struct GrantedError {
    network: String,
    field: &'static str,
    value: String,
}

impl Granted {
    /// Reads a Network's status; one without any has been granted nothing.
    pub(crate) fn of(network: &Network) -> Result<Self, GrantedError> {
        let Some(status) = &network.status else { return Ok(Self::default()) };
        let invalid = |field, value: &str| GrantedError {
            network: display_name(network),
            field,
            value: value.to_owned(),
        };
        let segment = status.segment.clone().unwrap_or_default();
        let mac_code = match &segment.mac_code {
            Some(code) => Some(code.parse().map_err(|_| invalid("segment.macCode", code))?),
            None => None,
        };
        let subnets = status
            .subnets
            .iter()
            .map(|subnet| subnet_of(subnet).ok_or_else(|| invalid("subnets", &subnet.cidr)));
        Ok(Self {
            class: status.class.clone(),
            provider: status.provider.clone(),
            mac_code,
            vlan: segment.vlan,
            vni: segment.vni,
            subnets: subnets.collect::<Result<_, _>>()?,
        })
    }

    /// Whether this is what a class gives now.
    pub(super) fn is(&self, class: &Class, grant: &Grant) -> bool {
        self.class.as_ref() == Some(&class.name)
            && self.provider.as_ref() == Some(&class.provider)
            && (self.mac_code, self.vlan, self.vni) == (Some(grant.mac_code), grant.vlan, grant.vni)
            && self.subnets == grant.layout.subnets()
    }

    /// Whether a thing is part of it, as far as the status tells: it does so of the numbers and subnets.
    pub(super) fn includes(&self, thing: &Thing) -> bool {
        match thing {
            Thing::MacCode(code) => self.mac_code == Some(*code),
            Thing::Vlan(_, vlan) => self.vlan == Some(*vlan),
            Thing::Vni(vni) => self.vni == Some(*vni),
            Thing::Subnet(_, cidr) => self.subnet(*cidr).is_some(),
            Thing::Exclusive | Thing::OfLease => self.mac_code.is_some(),
        }
    }

    /// The record of a subnet.
    pub(crate) fn subnet(&self, cidr: IpNetwork) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.cidr == cidr)
    }
}

/// The subnets of a status, each with how many of its addresses the leases on these slots have now.
pub(crate) fn subnets_in_use(network: &Network, slots: &[Slot]) -> Vec<StatusSubnet> {
    let in_use = |status: &StatusSubnet| {
        let held = subnet_of(status)?.slots();
        let allocated = slots.iter().filter(|slot| held.contains(&slot.get())).count() as u64;
        Some(StatusSubnet { allocated, ..status.clone() })
    };
    network.status.iter().flat_map(|status| &status.subnets).filter_map(in_use).collect()
}

fn subnet_of(subnet: &StatusSubnet) -> Option<Subnet> {
    let gateway: Option<IpAddr> = parsed(subnet.gateway.as_deref())?;
    let on_link: Option<IpNetwork> = parsed(subnet.on_link.as_deref())?;
    Some(Subnet { slot_base: subnet.slot_base, ..Subnet::new(subnet.cidr.parse().ok()?, gateway, on_link) })
}

/// Nothing where a text is there and can't be parsed.
fn parsed<T: std::str::FromStr>(text: Option<&str>) -> Option<Option<T>> {
    text.map(str::parse).transpose().ok()
}

/// `shop/blue`.
pub(crate) fn display_name(network: &Network) -> String {
    let meta = &network.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}
