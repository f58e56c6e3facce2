//! What must be reserved for a Network before there can be a plan for it.

use ipnetwork::IpNetwork;

use crate::{
    AddressScope, Class, GatewayPolicy, IpFamily, IpamMode, MacCode, NetworkIntent, NumberRanges, Pool,
    PoolError, Segments,
};

#[cfg(test)]
mod tests;

/// What a provider makes of a class, as far as reservations depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Whether a subnet whose pool leaves it to the provider has a gateway, the first address.
    pub gateway_by_default: bool,
    /// Whether the hosts hold the gateways: then all subnets share the hosts' one routing table.
    pub routed: bool,
    /// Whether each Network is a broadcast domain of its own even without a number.
    pub own_segment: bool,
    /// Whether addresses of Knap's reach the interface.
    pub addresses: bool,
    /// Names of further Reservations, each one thing that only one Network can have.
    pub exclusive: Vec<String>,
}

/// What must be reserved for a Network. A MAC code is needed always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// A VLAN out of these.
    pub vlans: Option<NumberRanges>,
    /// A VXLAN identifier out of these.
    pub vnis: Option<NumberRanges>,
    /// Subnets, in the order of their slots; none where Knap gives out no addresses.
    pub subnets: Vec<SubnetNeed>,
    /// Whether hosts route the subnets (see [`crate::SubnetClaim`]).
    pub routed: bool,
    /// Names of further Reservations, each one thing that only one Network can have.
    pub exclusive: Vec<String>,
    scope: Scope,
}

/// One subnet that a Network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetNeed {
    /// Its family.
    pub family: IpFamily,
    /// Exactly this one, asked for by the Network; otherwise one is carved.
    pub requested: Option<IpNetwork>,
    /// Where to carve it from, first one with room; of a requested one, the single pool that it belongs to.
    pub pools: Vec<Pool>,
    /// The provider's word where the pool leaves the gateway to it.
    pub gateway_by_default: bool,
}

/// The scope of what is unique in the cluster.
pub(crate) const CLUSTER_SCOPE: &str = "cluster";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Cluster,
    /// The class's wire itself.
    Fabric(String),
    /// Whatever number on this wire the Network gets.
    Numbered(String),
    /// The Network's own.
    Network,
}

/// What a class can't give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NeedsError {
    /// Subnets are asked for, and the class does not allow it.
    #[error(
        "NetworkClass {class:?} does not allow requested subnets: remove spec.subnets, or have the administrator \
         set allowRequestedSubnets"
    )]
    RequestForbidden {
        /// The class.
        class: String,
    },
    /// A subnet is asked for that is not the class's to give.
    #[error("spec.subnets: {subnet} is outside of the address space of NetworkClass {class:?} ({space})")]
    RequestOutside {
        /// The class.
        class: String,
        /// What was asked for.
        subnet: IpNetwork,
        /// The class's prefixes of that family.
        space: String,
    },
    /// A subnet is asked for that no interface's can be.
    #[error("spec.subnets: {source}")]
    Request {
        /// What is wrong with it.
        #[from]
        source: PoolError,
    },
    /// The class's configuration gives addresses of its own.
    #[error(
        "NetworkClass {class:?} gives out addresses by itself: remove spec.{field}, or have a plugin of its template \
         carry \"ipam\": {{\"type\": \"knap\"}}"
    )]
    OwnAddresses {
        /// The class.
        class: String,
        /// The field under `spec`.
        field: &'static str,
    },
    /// There is nothing to carve from.
    #[error(
        "NetworkClass {class:?} has no {what} to give addresses from: set spec.ipam to None or DHCP, \
         or have the administrator add spec.subnets there"
    )]
    NoAddressSpace {
        /// The class.
        class: String,
        /// Which subnets there are none of.
        what: String,
    },
}

/// Name of the Reservation of a wire that only one Network can have.
pub(crate) fn uplink_name(fabric: &str) -> String {
    format!("uplink-{fabric}")
}

impl Needs {
    /// What a Network needs of a class, under a provider that makes this of it.
    pub fn of(network: &NetworkIntent, class: &Class, profile: Profile) -> Result<Self, NeedsError> {
        let subnets = Subnets { network, class, gateway_by_default: profile.gateway_by_default };
        let subnets = match network.ipam {
            IpamMode::Managed if profile.addresses => subnets.needed()?,
            IpamMode::Managed => subnets.refuse_wishes().map(|()| Vec::new())?,
            IpamMode::None | IpamMode::Dhcp => Vec::new(),
        };
        let (vlans, vnis) = match &class.segments {
            Some(Segments::Vlans(vlans)) => (Some(vlans.clone()), None),
            Some(Segments::Vxlan { vnis, .. }) => (None, Some(vnis.clone())),
            None => (None, None),
        };
        let scope = match class.address_scope {
            AddressScope::Cluster => Scope::Cluster,
            AddressScope::Segment if class.segments.is_some() => Scope::Numbered(class.fabric.clone()),
            AddressScope::Segment if profile.own_segment => Scope::Network,
            AddressScope::Segment => Scope::Fabric(class.fabric.clone()),
        };
        let routed = profile.routed && !subnets.is_empty();
        Ok(Self { vlans, vnis, subnets, routed, exclusive: profile.exclusive, scope })
    }

    /// Within what the subnets must not overlap others (see [`crate::scopes_meet`]): the `<scope>` of their Reservations'
    /// names. The numbers are those that the Network got.
    pub fn address_scope(&self, mac_code: MacCode, vlan: Option<u16>, vni: Option<u32>) -> String {
        match (&self.scope, vlan, vni) {
            (Scope::Cluster, ..) => CLUSTER_SCOPE.to_owned(),
            (Scope::Numbered(fabric), Some(vlan), _) => format!("vlan-{fabric}-{vlan}"),
            (Scope::Numbered(_), None, Some(vni)) => format!("vni-{vni}"),
            (Scope::Numbered(fabric) | Scope::Fabric(fabric), ..) => format!("fabric-{fabric}"),
            (Scope::Network, ..) => format!("network-{mac_code}"),
        }
    }
}

/// Works out the subnets that a Network needs of a class.
struct Subnets<'a> {
    network: &'a NetworkIntent,
    class: &'a Class,
    gateway_by_default: bool,
}

impl Subnets<'_> {
    /// The requested ones first, then one to carve per family that none was requested of.
    fn needed(&self) -> Result<Vec<SubnetNeed>, NeedsError> {
        if !self.network.subnets.is_empty() && !self.class.allow_requested_subnets {
            return Err(NeedsError::RequestForbidden { class: self.class.name.clone() });
        }
        let mut needs = Vec::new();
        for &subnet in &self.network.subnets {
            needs.push(self.requested(subnet)?);
        }
        for family in IpFamily::ALL {
            if !needs.iter().any(|need| need.family == family) {
                needs.extend(self.carved(family)?);
            }
        }
        if needs.is_empty() { Err(self.no_address_space("subnets".to_owned())) } else { Ok(needs) }
    }

    fn requested(&self, subnet: IpNetwork) -> Result<SubnetNeed, NeedsError> {
        let family = IpFamily::of(subnet.ip());
        let pools = self.pools(family);
        let pool = if pools.is_empty() {
            Pool::new(subnet, subnet.prefix(), Vec::new(), false, GatewayPolicy::ProviderDefault)?
        } else {
            let around = pools.iter().find(|pool| contains(pool.cidr(), subnet)).cloned();
            around.ok_or_else(|| NeedsError::RequestOutside {
                class: self.class.name.clone(),
                subnet,
                space: list(pools.iter().map(Pool::cidr)),
            })?
        };
        Ok(self.need(family, Some(subnet), vec![pool]))
    }

    fn need(&self, family: IpFamily, requested: Option<IpNetwork>, pools: Vec<Pool>) -> SubnetNeed {
        SubnetNeed { family, requested, pools, gateway_by_default: self.gateway_by_default }
    }

    fn carved(&self, family: IpFamily) -> Result<Option<SubnetNeed>, NeedsError> {
        let wanted = self.network.wanted_families().map(|families| families.contains(&family));
        let pools = self.pools(family);
        match (wanted, pools.is_empty()) {
            (Some(false), _) | (None, true) => Ok(None),
            (Some(true), true) => Err(self.no_address_space(format!("{family} subnets"))),
            (_, false) => Ok(Some(self.need(family, None, pools))),
        }
    }

    fn pools(&self, family: IpFamily) -> Vec<Pool> {
        self.class.subnets.iter().filter(|pool| pool.family() == family).cloned().collect()
    }

    /// Without addresses of Knap's, wishes that only they could meet can't be met.
    fn refuse_wishes(&self) -> Result<(), NeedsError> {
        let fields = [
            ("subnets", self.network.subnets.is_empty()),
            ("reserved", self.network.reserved.is_empty()),
            ("routes", self.network.routes.is_empty()),
        ];
        match fields.into_iter().find(|(_, unset)| !unset) {
            Some((field, _)) => Err(NeedsError::OwnAddresses { class: self.class.name.clone(), field }),
            None => Ok(()),
        }
    }

    fn no_address_space(&self, what: String) -> NeedsError {
        NeedsError::NoAddressSpace { class: self.class.name.clone(), what }
    }
}

fn contains(outer: IpNetwork, inner: IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}

fn list(prefixes: impl Iterator<Item = IpNetwork>) -> String {
    prefixes.map(|prefix| prefix.to_string()).collect::<Vec<_>>().join(", ")
}
