//! Cutting Networks' subnets out of a class's address space.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;

use crate::layout::is_host;
use crate::subnet::{CidrError, broadcast_address, check_cidr, first_host, network_address};
use crate::{AddressRange, IpFamily, Subnet};

#[cfg(test)]
mod tests;

/// Which address of a subnet is its gateway. Written `First`, `None` or as an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum GatewayPolicy {
    /// What the provider does where nothing is said: `First` for bridge, none for the others.
    #[default]
    ProviderDefault,
    /// The first address that a host may have.
    First,
    /// None.
    None,
    /// This one.
    Address(IpAddr),
}

/// One entry of a class's `subnets`: address space, and the size of a Network's part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    cidr: IpNetwork,
    prefix_length: u8,
    exclude: Vec<AddressRange>,
    shared: bool,
    gateway: GatewayPolicy,
}

/// Why an entry of a class's `subnets` can't serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// A prefix that can't be a subnet.
    #[error(transparent)]
    Cidr(#[from] CidrError),
    /// Units larger than the whole, or smaller than an address.
    #[error("prefixLength {prefix_length} can't be cut out of {cidr}: choose {} to {longest}", cidr.prefix())]
    PrefixLength {
        /// As given.
        prefix_length: u8,
        /// As given.
        cidr: IpNetwork,
        /// The family's longest.
        longest: u8,
    },
    /// Not `First`, `None` or an address.
    #[error("gateway {0:?} is none of First, None and an address")]
    GatewayForm(String),
    /// Outside, or an address that no interface can have.
    #[error(
        "gateway {gateway} is no host address of {cidr}: choose one inside it, neither its first nor its last"
    )]
    Gateway {
        /// As given.
        gateway: IpAddr,
        /// As given.
        cidr: IpNetwork,
    },
    /// One address can't be the gateway of many subnets.
    #[error(
        "gateway {gateway} can serve one subnet only, and {cidr} is cut into many: say First, or shared: true where \
         all are on one link"
    )]
    GatewayOfMany {
        /// As given.
        gateway: IpAddr,
        /// As given.
        cidr: IpNetwork,
    },
    /// The gateway would take the only address.
    #[error(
        "units of one address (prefixLength {prefix_length} of {cidr}) have no room for a gateway: say None"
    )]
    GatewayTakesAll {
        /// As given.
        prefix_length: u8,
        /// As given.
        cidr: IpNetwork,
    },
}

impl Pool {
    /// Checks an entry of a class's `subnets`.
    pub fn new(
        cidr: IpNetwork,
        prefix_length: u8,
        exclude: Vec<AddressRange>,
        shared: bool,
        gateway: GatewayPolicy,
    ) -> Result<Self, PoolError> {
        check_cidr(cidr)?;
        let longest = IpFamily::of(cidr.ip()).bits();
        if !(cidr.prefix()..=longest).contains(&prefix_length) {
            return Err(PoolError::PrefixLength { prefix_length, cidr, longest });
        }
        let one_link = shared || prefix_length == cidr.prefix();
        match gateway {
            GatewayPolicy::Address(gateway) if !is_host(gateway, cidr) => {
                return Err(PoolError::Gateway { gateway, cidr });
            }
            GatewayPolicy::Address(gateway) if !one_link => {
                return Err(PoolError::GatewayOfMany { gateway, cidr });
            }
            GatewayPolicy::First | GatewayPolicy::Address(_) if !shared && prefix_length == longest => {
                return Err(PoolError::GatewayTakesAll { prefix_length, cidr });
            }
            _ => {}
        }
        Ok(Self { cidr, prefix_length, exclude, shared, gateway })
    }

    /// The whole address space.
    pub const fn cidr(&self) -> IpNetwork {
        self.cidr
    }

    /// The size of a Network's part.
    pub const fn prefix_length(&self) -> u8 {
        self.prefix_length
    }

    /// The same address space, cut into parts of another size, if it can be.
    pub fn in_units_of(&self, prefix_length: u8) -> Option<Self> {
        Self::new(self.cidr, prefix_length, self.exclude.clone(), self.shared, self.gateway).ok()
    }

    /// The family of its addresses.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(self.cidr.ip())
    }

    /// Whether all parts are slices of one subnet on one link.
    pub const fn shared(&self) -> bool {
        self.shared
    }

    /// A part of this address space as a Network's subnet: a unit that was carved, or what a Network asked for.
    /// `gateway_by_default` is the provider's word where the class says nothing. Its slots come from
    /// `Layout::append`.
    pub fn subnet(&self, part: IpNetwork, gateway_by_default: bool) -> Subnet {
        let link = if self.shared { self.cidr } else { part };
        let first = || Some(first_host(link)).filter(|_| link.prefix() < self.family().bits());
        let gateway = match self.gateway {
            GatewayPolicy::Address(address) => Some(address).filter(|address| is_host(*address, link)),
            GatewayPolicy::First => first(),
            GatewayPolicy::ProviderDefault if gateway_by_default => first(),
            GatewayPolicy::ProviderDefault | GatewayPolicy::None => None,
        };
        Subnet::new(part, gateway, self.shared.then_some(self.cidr))
    }

    /// Units of a shared subnet in which only its network, broadcast and gateway addresses lie: useless to anybody.
    fn useless_units(&self) -> impl Iterator<Item = IpNetwork> {
        let parent = self.cidr;
        let gateway = match self.gateway {
            GatewayPolicy::Address(address) => Some(address),
            GatewayPolicy::First | GatewayPolicy::ProviderDefault => Some(first_host(parent)),
            GatewayPolicy::None => None,
        };
        let special = [network_address(parent), broadcast_address(parent), gateway];
        let special = special.into_iter().filter(|_| self.shared).flatten();
        special.clone().filter_map(|address| IpNetwork::new(address, self.prefix_length).ok()).filter(
            move |unit| {
                let (first, last) = AddressRange::from(*unit).numbers();
                let inside = special.clone().filter(|address| unit.contains(*address)).count();
                u128::try_from(inside).is_ok_and(|inside| last - first < inside)
            },
        )
    }
}

/// The first part of the pool that overlaps nothing excluded and nothing taken; none when it is exhausted.
///
/// Costs one sort of what is taken in the pool, however many units there are: a conflict is jumped past whole.
pub fn carve(pool: &Pool, taken: &[IpNetwork]) -> Option<IpNetwork> {
    let whole = AddressRange::from(pool.cidr);
    let mut blocked: Vec<(u128, u128)> = taken
        .iter()
        .copied()
        .chain(pool.useless_units())
        .map(AddressRange::from)
        .chain(pool.exclude.iter().copied())
        .filter(|range| range.overlaps(&whole))
        .map(|range| range.numbers())
        .collect();
    blocked.sort_unstable();

    let family = pool.family();
    // check_cidr leaves no prefix of length 0, so that a unit's size is a number of 128 bits.
    let size = 1u128.checked_shl(u32::from(family.bits() - pool.prefix_length))?;
    let (mut start, last) = whole.numbers();
    for (blocked_first, blocked_last) in blocked {
        if blocked_first > start + (size - 1) {
            break;
        }
        if blocked_last >= start {
            start = (blocked_last / size).checked_add(1)?.checked_mul(size)?;
        }
        if start > last {
            return None;
        }
    }
    IpNetwork::new(family.address(start)?, pool.prefix_length).ok()
}

impl FromStr for GatewayPolicy {
    type Err = PoolError;

    fn from_str(text: &str) -> Result<Self, PoolError> {
        match text {
            "First" => Ok(Self::First),
            "None" => Ok(Self::None),
            address => {
                address.parse().map(Self::Address).map_err(|_| PoolError::GatewayForm(text.to_owned()))
            }
        }
    }
}

impl fmt::Display for GatewayPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProviderDefault => formatter.write_str("the provider's default"),
            Self::First => formatter.write_str("First"),
            Self::None => formatter.write_str("None"),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}
