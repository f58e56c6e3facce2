//! NetworkIntent: a Network whose every string has been parsed, before anything is decided about it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::{AddressRange, Features, IpFamily, LabelSelector};

#[cfg(test)]
mod tests;

/// Which Network: by name, and by UID, since one made anew under the same name is another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Its `metadata.uid`.
    pub uid: String,
}

impl fmt::Display for NetworkRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// Who gives out addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IpamMode {
    /// Knap does.
    #[default]
    Managed,
    /// Nobody: layer 2 only.
    None,
    /// A DHCP server on the network.
    #[serde(rename = "DHCP")]
    Dhcp,
}

impl fmt::Display for IpamMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Managed => "Managed",
            Self::None => "None",
            Self::Dhcp => "DHCP",
        })
    }
}

/// A route that every attachment gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub destination: IpNetwork,
    /// By way of; where absent, the gateway of the attachment's subnet, or on-link if that has none, which is
    /// what CNI's plugins make of a route without `gw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// Name resolution, in the shape of CNI results.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Servers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<IpAddr>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Domains to try, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
}

impl Dns {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// What a developer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkIntent {
    /// The Network itself.
    pub owner: NetworkRef,
    /// Constraint: the class by name.
    pub class: Option<String>,
    /// Constraint: the class's provider.
    pub provider: Option<String>,
    /// Constraint: what the class must offer.
    pub requires: Option<Features>,
    /// Free strings for the provider; never interpolated into a configuration.
    pub hints: BTreeMap<String, String>,
    /// Subnets asked for; each replaces carving for its family.
    pub subnets: Vec<IpNetwork>,
    /// Who gives out addresses.
    pub ipam: IpamMode,
    /// Addresses that are never given out.
    pub reserved: Vec<AddressRange>,
    /// Routes that every attachment gets.
    pub routes: Vec<Route>,
    /// Name resolution that every attachment gets.
    pub dns: Dns,
    /// Whether a StatefulSet's pod or a virtual machine gets the same slot again.
    pub sticky: bool,
    /// Other namespaces that may attach, where the class permits sharing.
    pub shared_with: Option<LabelSelector>,
}

/// A Network that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    /// Something is set that only means something with addresses of Knap.
    #[error(
        "spec.{field} needs addresses from Knap, but spec.ipam is {ipam}: remove spec.{field} or set ipam: Managed"
    )]
    NeedsManaged {
        /// The field under `spec`.
        field: &'static str,
        /// What ipam says.
        ipam: IpamMode,
    },
    /// An address where a prefix is meant.
    #[error("spec.subnets: {subnet} is not a subnet but an address in one: write {network}")]
    HostBits {
        /// What was written.
        subnet: IpNetwork,
        /// The prefix that it lies in.
        network: IpNetwork,
    },
    /// Two subnets of the Network itself share addresses.
    #[error("spec.subnets: {first} and {second} overlap: remove one of them")]
    Overlap {
        /// The one that is written first.
        first: IpNetwork,
        /// The other.
        second: IpNetwork,
    },
    /// A route whose gateway is of the other family.
    #[error("spec.routes: {destination} can't be reached by {gateway}, which is of the other IP family")]
    RouteFamily {
        /// The route's destination.
        destination: IpNetwork,
        /// Its gateway.
        gateway: IpAddr,
    },
    /// A subnet of a family that the Network says it does not want.
    #[error(
        "spec.subnets asks for {subnet}, but spec.requires.ipFamilies does not name {family}: make them agree"
    )]
    UnwantedFamily {
        /// The subnet asked for.
        subnet: IpNetwork,
        /// Its family.
        family: IpFamily,
    },
}

impl NetworkIntent {
    /// A Network that asks for nothing in particular.
    pub fn new(owner: NetworkRef) -> Self {
        Self {
            owner,
            class: None,
            provider: None,
            requires: None,
            hints: BTreeMap::new(),
            subnets: Vec::new(),
            ipam: IpamMode::default(),
            reserved: Vec::new(),
            routes: Vec::new(),
            dns: Dns::default(),
            sticky: false,
            shared_with: None,
        }
    }

    /// Refuses what contradicts itself, whatever class will serve it.
    pub fn check(&self) -> Result<(), IntentError> {
        self.check_managed()?;
        self.check_subnets()?;
        for Route { destination, gateway } in &self.routes {
            if let Some(gateway) = gateway.filter(|gateway| gateway.is_ipv4() != destination.is_ipv4()) {
                return Err(IntentError::RouteFamily { destination: *destination, gateway });
            }
        }
        Ok(())
    }

    /// The families that the Network is confined to; none where it takes what the class has.
    pub fn wanted_families(&self) -> Option<&std::collections::BTreeSet<IpFamily>> {
        self.requires.as_ref().map(|features| &features.ip_families).filter(|families| !families.is_empty())
    }

    fn check_managed(&self) -> Result<(), IntentError> {
        if self.ipam == IpamMode::Managed {
            return Ok(());
        }
        let fields = [
            ("subnets", self.subnets.is_empty()),
            ("reserved", self.reserved.is_empty()),
            ("routes", self.routes.is_empty()),
        ];
        match fields.into_iter().find(|(_, unset)| !unset) {
            Some((field, _)) => Err(IntentError::NeedsManaged { field, ipam: self.ipam }),
            None => Ok(()),
        }
    }

    fn check_subnets(&self) -> Result<(), IntentError> {
        for (index, &subnet) in self.subnets.iter().enumerate() {
            if let Some(network) = canonical(subnet).filter(|network| *network != subnet) {
                return Err(IntentError::HostBits { subnet, network });
            }
            let range = AddressRange::from(subnet);
            let earlier = self.subnets.iter().take(index);
            if let Some(&first) =
                earlier.into_iter().find(|first| AddressRange::from(**first).overlaps(&range))
            {
                return Err(IntentError::Overlap { first, second: subnet });
            }
            let family = IpFamily::of(subnet.ip());
            if self.wanted_families().is_some_and(|families| !families.contains(&family)) {
                return Err(IntentError::UnwantedFamily { subnet, family });
            }
        }
        Ok(())
    }
}

/// The prefix that an address with a length lies in.
pub(crate) fn canonical(network: IpNetwork) -> Option<IpNetwork> {
    IpNetwork::new(network.network(), network.prefix()).ok()
}
