//! Hardware addresses: Knap's own are `0a:<two bytes of the Network>:<three bytes of the slot>`.

use std::fmt;
use std::str::FromStr;

use crate::Slot;

/// First byte of Knap's addresses: unicast and locally administered.
const KNAP_PREFIX: u8 = 0x0a;
/// First byte of codes never used: `0a:58` is the prefix that the bridge plugin and OVN-Kubernetes make addresses of.
const FOREIGN_CODES: u8 = 0x58;

/// A hardware address of six bytes, written `0a:1f:2e:00:00:05`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// The two bytes reserved for one Network: a part of its MAC addresses and, as four hex digits, of its links' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacCode(u16);

/// Why a text is no hardware address or no code of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six bytes in hex with colons.
    #[error("{0:?} is not a MAC address: write six bytes in hex with colons, as 0a:1f:2e:00:00:05")]
    NotAMac(String),
    /// A group address, which no interface can have, or the address of all zeros.
    #[error("{0} can't be an interface's MAC address: it is a group address or all zeros")]
    NotUnicast(Mac),
    /// Not four hex digits, or one of the codes left out.
    #[error("{0:?} is not a MAC code: it has four lower-case hex digits and does not begin with 58")]
    NotACode(String),
}

impl Mac {
    /// The address of a Network's slot.
    pub const fn of(code: MacCode, slot: Slot) -> Self {
        let [high, low] = code.0.to_be_bytes();
        let [_, a, b, c] = slot.get().to_be_bytes();
        Self([KNAP_PREFIX, high, low, a, b, c])
    }

    /// What `of` made this address of; none for an address that is not Knap's.
    pub fn code_and_slot(&self) -> Option<(MacCode, Slot)> {
        let [prefix, high, low, a, b, c] = self.0;
        if prefix != KNAP_PREFIX {
            return None;
        }
        let code = MacCode::new(u16::from_be_bytes([high, low]))?;
        Some((code, Slot::new(u32::from_be_bytes([0, a, b, c]))?))
    }

    /// Whether the address lies in `0a:…`, where only the slot's own may be requested.
    pub const fn has_knap_prefix(&self) -> bool {
        self.0[0] == KNAP_PREFIX
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Takes the colon form in any case, of an address that an interface can have.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let malformed = || MacError::NotAMac(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| is_hex(part, 2)).ok_or_else(malformed)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| malformed())?;
        }
        if parts.next().is_some() {
            return Err(malformed());
        }
        let [first, ..] = bytes;
        if first & 1 == 1 || bytes == [0; 6] {
            Err(MacError::NotUnicast(Self(bytes)))
        } else {
            Ok(Self(bytes))
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl MacCode {
    /// How many codes there are to choose from.
    pub const COUNT: u32 = (1 << 16) - (1 << 8);

    /// The code of this number; none for `0x58xx`.
    pub const fn new(number: u16) -> Option<Self> {
        let [high, _] = number.to_be_bytes();
        if high == FOREIGN_CODES { None } else { Some(Self(number)) }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The next code, after the last the first again: where to go on when one is taken.
    #[must_use]
    pub const fn next(self) -> Self {
        let [high, _] = self.0.wrapping_add(1).to_be_bytes();
        if high == FOREIGN_CODES {
            Self(u16::from_be_bytes([FOREIGN_CODES + 1, 0]))
        } else {
            Self(self.0.wrapping_add(1))
        }
    }
}

impl FromStr for MacCode {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        Some(text)
            .filter(|text| is_hex(text, 4) && !text.contains(|c: char| c.is_ascii_uppercase()))
            .and_then(|text| u16::from_str_radix(text, 16).ok())
            .and_then(Self::new)
            .ok_or_else(|| MacError::NotACode(text.to_owned()))
    }
}

impl fmt::Display for MacCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04x}", self.0)
    }
}

/// Without this check `from_str_radix` would take `+a`.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_colon_form_in_any_case() {
        let mac: Mac = "0A:1f:2E:00:00:05".parse().unwrap();
        assert_eq!(mac.to_string(), "0a:1f:2e:00:00:05");
        assert_eq!(mac.code_and_slot().map(|(code, slot)| (code.get(), slot.get())), Some((0x1f2e, 5)));
        for wrong in
            ["", "0a", "0a:1f:2e:00:00", "0a:1f:2e:00:00:05:06", "0a-1f-2e-00-00-05", "+a:1f:2e:00:00:05"]
        {
            assert!(matches!(wrong.parse::<Mac>(), Err(MacError::NotAMac(_))), "{wrong:?}");
        }
        for wrong in ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00"] {
            assert!(matches!(wrong.parse::<Mac>(), Err(MacError::NotUnicast(_))), "{wrong:?}");
        }
    }

    #[test]
    fn codes_leave_out_what_others_use() {
        assert_eq!("1f2e".parse::<MacCode>().map(MacCode::get), Ok(0x1f2e));
        for wrong in ["5800", "58ff", "1F2E", "+123", "123", "12345", ""] {
            assert!(wrong.parse::<MacCode>().is_err(), "{wrong:?}");
        }
        assert_eq!("0a:58:0a:40:07:05".parse::<Mac>().unwrap().code_and_slot(), None);
        assert_eq!("0c:1f:2e:00:00:05".parse::<Mac>().unwrap().code_and_slot(), None);
    }

    #[test]
    fn next_goes_through_every_code() {
        let first = MacCode::new(0x1f2e).unwrap();
        let mut code = first.next();
        let mut count = 1;
        while code != first {
            assert_eq!(MacCode::new(code.get()), Some(code));
            code = code.next();
            count += 1;
        }
        assert_eq!(count, MacCode::COUNT);
    }

    proptest! {
        #[test]
        fn an_address_gives_back_code_and_slot(code: u16, slot in 0..Slot::COUNT) {
            if let (Some(code), Some(slot)) = (MacCode::new(code), Slot::new(slot)) {
                let mac = Mac::of(code, slot);
                prop_assert_eq!(mac.code_and_slot(), Some((code, slot)));
                prop_assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
                prop_assert_eq!(code.to_string().parse::<MacCode>(), Ok(code));
            }
        }
    }
}
