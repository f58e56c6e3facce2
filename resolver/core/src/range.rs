//! Ranges of addresses: what a Network reserves, what a pool excludes, what a subnet covers.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;

use crate::ip_family::{IpFamily, number};

/// Addresses of one family, the first and the last included. Written `10.0.0.1`, `10.0.0.0/28` or
/// `10.0.0.1-10.0.0.20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// Why a text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// None of the three forms.
    #[error(
        "{0:?} is not a range of addresses: write an address (10.0.0.1), a prefix (10.0.0.0/28) or first and last \
         (10.0.0.1-10.0.0.20)"
    )]
    Malformed(String),
    /// An IPv4 and an IPv6 address.
    #[error("{first}-{last} is not a range of addresses: its ends must be both IPv4 or both IPv6")]
    TwoFamilies {
        /// As written.
        first: IpAddr,
        /// As written.
        last: IpAddr,
    },
    /// The last comes before the first.
    #[error("{first}-{last} is not a range of addresses: it ends before it begins; write {last}-{first}")]
    Backwards {
        /// As written.
        first: IpAddr,
        /// As written.
        last: IpAddr,
    },
}

impl AddressRange {
    /// From the first to the last address, both included.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        if IpFamily::of(first) != IpFamily::of(last) {
            Err(RangeError::TwoFamilies { first, last })
        } else if first > last {
            Err(RangeError::Backwards { first, last })
        } else {
            Ok(Self { first, last })
        }
    }

    /// The lowest address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// The family of both ends.
    pub const fn family(&self) -> IpFamily {
        IpFamily::of(self.first)
    }

    /// Whether the address is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        IpFamily::of(address) == self.family() && self.first <= address && address <= self.last
    }

    /// Whether an address is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// The ends as numbers within the family.
    pub(crate) fn numbers(&self) -> (u128, u128) {
        (number(self.first), number(self.last))
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }
}

impl From<IpNetwork> for AddressRange {
    fn from(cidr: IpNetwork) -> Self {
        Self { first: cidr.network(), last: cidr.broadcast() }
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let malformed = || RangeError::Malformed(text.to_owned());
        if let Some((first, last)) = text.split_once('-') {
            let first = first.trim().parse().map_err(|_| malformed())?;
            let last = last.trim().parse().map_err(|_| malformed())?;
            return Self::new(first, last);
        }
        if text.contains('/') {
            return text.parse().map(IpNetwork::into).map_err(|_| malformed());
        }
        text.parse().map(IpAddr::into).map_err(|_| malformed())
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(formatter)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn three_forms() {
        assert_eq!(range("10.0.0.0/28"), range("10.0.0.0-10.0.0.15"));
        assert_eq!(range("10.0.0.1"), range("10.0.0.1 - 10.0.0.1"));
        assert_eq!(range("10.0.0.7/28"), range("10.0.0.0/28"));
        assert_eq!(range("fd00::/126").to_string(), "fd00::-fd00::3");
        assert_eq!(range("fd00::1").to_string(), "fd00::1");
        assert_eq!(
            range("::/0").last(),
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse::<IpAddr>().unwrap()
        );
        for wrong in ["", "10.0.0", "10.0.0.0/33", "10.0.0.1-", "-10.0.0.1", "10.0.0.1-20", "a-b"] {
            assert_eq!(wrong.parse::<AddressRange>(), Err(RangeError::Malformed(wrong.to_owned())));
        }
    }

    #[test]
    fn a_range_has_one_family_and_goes_upwards() {
        let error = "10.0.0.9-10.0.0.1".parse::<AddressRange>().unwrap_err().to_string();
        assert!(error.contains("write 10.0.0.1-10.0.0.9"), "{error}");
        let error = "10.0.0.9-fd00::1".parse::<AddressRange>().unwrap_err().to_string();
        assert!(error.contains("both IPv4 or both IPv6"), "{error}");
    }

    #[test]
    fn families_never_meet() {
        assert!(range("10.0.0.0/24").overlaps(&range("10.0.0.255-10.0.1.1")));
        assert!(!range("10.0.0.0/24").overlaps(&range("10.0.1.0/24")));
        assert!(!range("0.0.0.0/0").overlaps(&range("::/0")));
        assert!(range("10.0.0.0/24").contains("10.0.0.255".parse().unwrap()));
        assert!(!range("0.0.0.0/0").contains("::1".parse().unwrap()));
    }
}
