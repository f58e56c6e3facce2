//! IPv4 and IPv6 addresses as numbers, so that ranges and offsets are plain arithmetic.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IpFamily {
    /// 32-bit addresses.
    IPv4,
    /// 128-bit addresses.
    IPv6,
}

impl IpFamily {
    /// Both, in the order in which addresses are listed.
    pub const ALL: [Self; 2] = [Self::IPv4, Self::IPv6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::IPv4,
            IpAddr::V6(_) => Self::IPv6,
        }
    }

    /// The length of an address, in bits.
    pub const fn bits(self) -> u8 {
        match self {
            Self::IPv4 => 32,
            Self::IPv6 => 128,
        }
    }

    /// The address of this number; none where the family has no such number.
    pub(crate) fn address(self, number: u128) -> Option<IpAddr> {
        match self {
            Self::IPv4 => u32::try_from(number).ok().map(|number| Ipv4Addr::from_bits(number).into()),
            Self::IPv6 => Some(Ipv6Addr::from_bits(number).into()),
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        })
    }
}

/// An address's number within its family.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
