//! All of a Network's subnets together: from a slot to its addresses and back.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::subnet::{CidrError, broadcast_address, check_cidr, network_address};
use crate::{AddressRange, IpFamily, Slot, SlotRanges, Subnet};

#[cfg(test)]
mod tests;

/// Which slots a Network has, and what addresses they stand for (design: a slot is an offset).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    subnets: Vec<Subnet>,
    reserved: Vec<AddressRange>,
    usable: SlotRanges,
}

/// Why subnets can't be one Network's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A prefix that can't be a subnet.
    #[error(transparent)]
    Cidr(#[from] CidrError),
    /// Slots beyond the last would be needed.
    #[error(
        "subnet {subnet} has no slots: the Network's {family} subnets before it have all {}",
        Slot::COUNT
    )]
    NoSlotsLeft {
        /// The one too many.
        subnet: IpNetwork,
        /// Its family.
        family: IpFamily,
    },
    /// Two subnets share addresses.
    #[error("subnets {first} and {second} of one Network overlap: drop one of them")]
    Overlap {
        /// The earlier one.
        first: IpNetwork,
        /// The later one.
        second: IpNetwork,
    },
    /// Two subnets of a family share slots.
    #[error(
        "subnets {first} and {second} of one Network overlap in their slots: slotBase must be appended to"
    )]
    SlotsOverlap {
        /// The earlier one.
        first: IpNetwork,
        /// The later one.
        second: IpNetwork,
    },
    /// The slice is not a part of what it is said to be a slice of.
    #[error("subnet {subnet} is no slice of {on_link}: it must lie inside it")]
    NotASlice {
        /// The slice.
        subnet: IpNetwork,
        /// The shared subnet.
        on_link: IpNetwork,
    },
    /// A gateway that can't be reached on the link, or that can't be an interface's address.
    #[error(
        "gateway {gateway} is no host address of {link}: choose one inside it, neither its first nor its last"
    )]
    Gateway {
        /// As given.
        gateway: IpAddr,
        /// What is on the link.
        link: IpNetwork,
    },
}

/// Why an address can't be requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// In none of the subnets.
    #[error("{address} is in no subnet of this Network ({subnets}): request one that is")]
    Outside {
        /// The one requested.
        address: IpAddr,
        /// All of them, comma-separated.
        subnets: String,
    },
    /// A gateway's.
    #[error("{address} is the gateway of subnet {subnet}: request another address")]
    Gateway {
        /// The one requested.
        address: IpAddr,
        /// Where it lies.
        subnet: IpNetwork,
    },
    /// Left out by the Network's `reserved`.
    #[error("{address} of subnet {subnet} is reserved by this Network ({range}): request another address")]
    Reserved {
        /// The one requested.
        address: IpAddr,
        /// Where it lies.
        subnet: IpNetwork,
        /// The reservation that holds it.
        range: AddressRange,
    },
    /// The subnet's own: of IPv4 the network address, of IPv6 the subnet-router anycast address.
    #[error("{address} stands for the subnet {subnet} itself: request another address")]
    NetworkAddress {
        /// The one requested.
        address: IpAddr,
        /// What it stands for.
        subnet: IpNetwork,
    },
    /// Everybody's.
    #[error("{address} is the broadcast address of subnet {subnet}: request another address")]
    Broadcast {
        /// The one requested.
        address: IpAddr,
        /// Whose broadcast address it is.
        subnet: IpNetwork,
    },
    /// Fine as an address, but no slot stands for it: it takes a Reservation of its own.
    #[error("{address} of subnet {subnet} lies beyond the Network's {} slots", Slot::COUNT)]
    Beyond24Bits {
        /// The one requested.
        address: IpAddr,
        /// Where it lies.
        subnet: IpNetwork,
    },
}

impl Layout {
    /// Subnets with their slots as recorded, and the ranges never given out. Reserved ranges may lie outside all
    /// subnets.
    pub fn new(subnets: Vec<Subnet>, reserved: Vec<AddressRange>) -> Result<Self, LayoutError> {
        for (index, subnet) in subnets.iter().enumerate() {
            check(subnet)?;
            for earlier in subnets.iter().take(index) {
                check_apart(earlier, subnet)?;
            }
        }
        let usable = usable_slots(&subnets, &reserved);
        Ok(Self { subnets, reserved, usable })
    }

    /// Of a Network whose addresses are not Knap's: slots give MACs alone, and begin with 1.
    pub fn without_addresses() -> Self {
        Self { subnets: Vec::new(), reserved: Vec::new(), usable: SlotRanges::from(1..Slot::COUNT) }
    }

    /// Gives a subnet the slots after the last of its family, and returns it with them. Nobody's slots change.
    pub fn append(&mut self, subnet: Subnet) -> Result<Subnet, LayoutError> {
        let slot_base = self.next_base(subnet.family());
        let subnet = Subnet { slot_base, ..subnet };
        let mut subnets = self.subnets.clone();
        subnets.push(subnet);
        *self = Self::new(subnets, self.reserved.clone())?;
        Ok(subnet)
    }

    /// The slot after the last of a family.
    pub fn next_base(&self, family: IpFamily) -> u32 {
        self.of_family(family).map(|subnet| subnet.slots().end).max().unwrap_or(0)
    }

    /// The subnets, in the order given.
    pub fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }

    /// The subnet that an address lies in.
    pub fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.cidr.contains(address))
    }

    /// The subnets' gateways, each once, in the order given.
    pub fn gateways(&self) -> Vec<IpAddr> {
        let mut gateways = Vec::new();
        for gateway in self.subnets.iter().filter_map(|subnet| subnet.gateway) {
            if !gateways.contains(&gateway) {
                gateways.push(gateway);
            }
        }
        gateways
    }

    /// Slots that may be given out: those with a free-to-use address in every family that the Network has.
    pub const fn usable_slots(&self) -> &SlotRanges {
        &self.usable
    }

    /// How many attachments the Network can have.
    pub fn capacity(&self) -> u32 {
        self.usable.count()
    }

    /// How many of them use this subnet.
    pub fn capacity_of(&self, subnet: &Subnet) -> u32 {
        self.usable.intersection(&subnet.slots().into()).count()
    }

    /// A slot's addresses with their prefix lengths, one per family of the Network, IPv4 first; none where the slot
    /// is not usable. Empty for a Network without addresses.
    pub fn addresses(&self, slot: Slot) -> Option<Vec<IpNetwork>> {
        if !self.usable.contains(slot) {
            return None;
        }
        Some(IpFamily::ALL.into_iter().filter_map(|family| self.address(slot, family)).collect())
    }

    /// A slot's address in one family, where a subnet has it; of a usable slot it is free to use. A lease on a
    /// requested address may hold a slot that the other family lacks.
    pub fn address(&self, slot: Slot, family: IpFamily) -> Option<IpNetwork> {
        self.of_family(family)
            .find_map(|subnet| subnet.address(slot).and_then(|address| subnet.on_interface(address)))
    }

    /// The slot that a requested address implies, or why it can't be had. Says nothing about its other family.
    pub fn slot_of(&self, address: IpAddr) -> Result<Slot, SlotError> {
        let Some(subnet) = self.subnet_of(address) else {
            return Err(SlotError::Outside { address, subnets: self.cidrs() });
        };
        let (cidr, link) = (subnet.cidr, subnet.link());
        if self.subnets.iter().any(|subnet| subnet.gateway == Some(address)) {
            return Err(SlotError::Gateway { address, subnet: cidr });
        }
        if network_address(link) == Some(address) {
            return Err(SlotError::NetworkAddress { address, subnet: link });
        }
        if broadcast_address(link) == Some(address) {
            return Err(SlotError::Broadcast { address, subnet: link });
        }
        if let Some(&range) = self.reserved.iter().find(|range| range.contains(address)) {
            return Err(SlotError::Reserved { address, subnet: cidr, range });
        }
        subnet.slot(address).ok_or(SlotError::Beyond24Bits { address, subnet: cidr })
    }

    /// All subnets, for messages.
    fn cidrs(&self) -> String {
        if self.subnets.is_empty() {
            return "it has none".to_owned();
        }
        let cidrs: Vec<String> = self.subnets.iter().map(|subnet| subnet.cidr.to_string()).collect();
        cidrs.join(", ")
    }

    fn of_family(&self, family: IpFamily) -> impl Iterator<Item = &Subnet> {
        self.subnets.iter().filter(move |subnet| subnet.family() == family)
    }
}

fn check(subnet: &Subnet) -> Result<(), LayoutError> {
    let (cidr, link) = (subnet.cidr, subnet.link());
    check_cidr(cidr)?;
    check_cidr(link)?;
    if link.prefix() > cidr.prefix() || !link.contains(cidr.network()) {
        return Err(LayoutError::NotASlice { subnet: cidr, on_link: link });
    }
    if subnet.slots().is_empty() {
        return Err(LayoutError::NoSlotsLeft { subnet: cidr, family: subnet.family() });
    }
    match subnet.gateway {
        Some(gateway) if !is_host(gateway, link) => Err(LayoutError::Gateway { gateway, link }),
        _ => Ok(()),
    }
}

fn check_apart(earlier: &Subnet, later: &Subnet) -> Result<(), LayoutError> {
    let (first, second) = (earlier.cidr, later.cidr);
    if AddressRange::from(first).overlaps(&second.into()) {
        return Err(LayoutError::Overlap { first, second });
    }
    let (a, b) = (earlier.slots(), later.slots());
    if earlier.family() == later.family() && a.start < b.end && b.start < a.end {
        return Err(LayoutError::SlotsOverlap { first, second });
    }
    Ok(())
}

/// Whether an interface on the link may have the address.
pub(crate) fn is_host(address: IpAddr, link: IpNetwork) -> bool {
    link.contains(address)
        && network_address(link) != Some(address)
        && broadcast_address(link) != Some(address)
}

/// Arithmetic on ranges alone: a /8 costs what a /28 costs.
fn usable_slots(subnets: &[Subnet], reserved: &[AddressRange]) -> SlotRanges {
    let left_out: Vec<AddressRange> = subnets
        .iter()
        .flat_map(Subnet::left_out)
        .map(AddressRange::from)
        .chain(reserved.iter().copied())
        .collect();
    IpFamily::ALL
        .into_iter()
        .filter_map(|family| {
            let subnets = || subnets.iter().filter(move |subnet| subnet.family() == family);
            subnets().next()?;
            let all = SlotRanges::new(subnets().map(Subnet::slots));
            let unusable = subnets().flat_map(|subnet| left_out.iter().map(|range| subnet.slots_of(range)));
            Some(all.without(&SlotRanges::new(unusable)))
        })
        .reduce(|v4, v6| v4.intersection(&v6))
        .unwrap_or_default()
}
