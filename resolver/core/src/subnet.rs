//! One subnet of a Network: which addresses its slots stand for, and which are never given out.

use std::net::IpAddr;
use std::ops::Range;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::ip_family::{IpFamily, number};
use crate::{AddressRange, Slot};

/// Prefixes that no interface's subnet may touch: unspecified, loopback, link-local, IPv4-mapped, multicast, broadcast.
const NOT_FOR_SUBNETS: [&str; 8] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/127",
    "::ffff:0:0/96",
    "fe80::/10",
    "ff00::/8",
];

/// A subnet that a Network got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// The addresses that are the Network's.
    pub cidr: IpNetwork,
    /// On the host or on the wire; never given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The slot of the first address. Per family on its own, appended to, never shifted.
    pub slot_base: u32,
    /// The wider prefix that addresses carry, where `cidr` is a slice of a shared subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_link: Option<IpNetwork>,
}

/// Why a prefix can't be a subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Bits after the prefix length are set.
    #[error("{cidr} is not a subnet: write {network}, or another prefix length")]
    HostBits {
        /// As written.
        cidr: IpNetwork,
        /// What was probably meant.
        network: IpNetwork,
    },
    /// It touches addresses that no interface can have.
    #[error(
        "{cidr} can't be a subnet: it overlaps {special}, whose addresses no interface can have; use another prefix"
    )]
    NotUnicast {
        /// As written.
        cidr: IpNetwork,
        /// What it overlaps.
        special: &'static str,
    },
}

/// Checks that a prefix can be a subnet: no host bits, and only addresses that interfaces can have.
pub fn check_cidr(cidr: IpNetwork) -> Result<(), CidrError> {
    if cidr.ip() != cidr.network() {
        let network = IpNetwork::new(cidr.network(), cidr.prefix()).unwrap_or(cidr);
        return Err(CidrError::HostBits { cidr, network });
    }
    let touches = |special: &str| {
        special.parse::<AddressRange>().is_ok_and(|special| special.overlaps(&AddressRange::from(cidr)))
    };
    match NOT_FOR_SUBNETS.into_iter().find(|special| touches(special)) {
        Some(special) => Err(CidrError::NotUnicast { cidr, special }),
        None => Ok(()),
    }
}

/// The first address that a host may have: the second of the subnet, but the first where only one or two are.
pub fn first_host(cidr: IpNetwork) -> IpAddr {
    let family = IpFamily::of(cidr.ip());
    let first = cidr.network();
    match network_address(cidr) {
        Some(_) => family.address(number(first) + 1).unwrap_or(first),
        None => first,
    }
}

/// The address that stands for the subnet itself: of IPv4 the network's, of IPv6 the subnet-router anycast address
/// (RFC 4291 section 2.6.1). Point-to-point links have none (RFC 3021, RFC 6164).
pub(crate) fn network_address(cidr: IpNetwork) -> Option<IpAddr> {
    let bits = IpFamily::of(cidr.ip()).bits();
    (cidr.prefix() + 2 <= bits).then(|| cidr.network())
}

/// The address that stands for all in the subnet. IPv6 has none, nor have point-to-point links (RFC 3021).
pub(crate) fn broadcast_address(cidr: IpNetwork) -> Option<IpAddr> {
    (cidr.is_ipv4() && cidr.prefix() <= 30).then(|| cidr.broadcast())
}

impl Subnet {
    /// A subnet that has no place in a layout yet: `Layout::append` gives it its slots.
    pub const fn new(cidr: IpNetwork, gateway: Option<IpAddr>, on_link: Option<IpNetwork>) -> Self {
        Self { cidr, gateway, slot_base: 0, on_link }
    }

    /// The family of its addresses.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(self.cidr.ip())
    }

    /// What is on the link: the subnet itself, or the shared one that it is a slice of.
    pub fn link(&self) -> IpNetwork {
        self.on_link.unwrap_or(self.cidr)
    }

    /// An address as an interface carries it, with the link's prefix length.
    pub fn on_interface(&self, address: IpAddr) -> Option<IpNetwork> {
        IpNetwork::new(address, self.link().prefix()).ok()
    }

    /// The slots of its addresses, those left out included, as far as slots go.
    pub fn slots(&self) -> Range<u32> {
        let (first, last) = AddressRange::from(self.cidr).numbers();
        let highest = (last - first).min(Slot::COUNT.into());
        let end = u128::from(self.slot_base).saturating_add(highest).saturating_add(1);
        let end = u32::try_from(end).unwrap_or(Slot::COUNT).min(Slot::COUNT);
        self.slot_base..end
    }

    /// The address of a slot, where the subnet has it, usable or not.
    pub fn address(&self, slot: Slot) -> Option<IpAddr> {
        if !self.slots().contains(&slot.get()) {
            return None;
        }
        let offset = slot.get() - self.slot_base;
        self.family().address(number(self.cidr.network()) + u128::from(offset))
    }

    /// The slot of an address, where the subnet has both, usable or not.
    pub fn slot(&self, address: IpAddr) -> Option<Slot> {
        if !self.cidr.contains(address) {
            return None;
        }
        let offset = number(address).checked_sub(number(self.cidr.network()))?;
        Slot::new(self.slot_base.checked_add(u32::try_from(offset).ok()?)?)
    }

    /// Slots of those of the given addresses that the subnet has.
    pub(crate) fn slots_of(&self, addresses: &AddressRange) -> Range<u32> {
        let cidr = AddressRange::from(self.cidr);
        if !cidr.overlaps(addresses) {
            return 0..0;
        }
        let ((first, last), (from, to)) = (cidr.numbers(), addresses.numbers());
        let slot = |offset: u128| {
            let slot = offset.saturating_add(self.slot_base.into());
            u32::try_from(slot).unwrap_or(Slot::COUNT).min(Slot::COUNT)
        };
        slot(from.max(first) - first)..slot((to.min(last) - first).saturating_add(1))
    }

    /// Addresses of the link that are never given out: network, broadcast, gateway.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = IpAddr> {
        let link = self.link();
        [network_address(link), broadcast_address(link), self.gateway].into_iter().flatten()
    }
}
