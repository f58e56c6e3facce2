//! What an attachment asks for beyond the Network: addresses and a hardware address, in the forms of CNI.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use knap_core::{IpFamily, Mac, MacError};
use knap_protocol::{AttachRequest, JsonObject};
use serde_json::Value;

/// A wish that can't be read or can't be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// Not a list of texts.
    #[error("{field} must be a list of addresses as texts, not {value}")]
    NotAList {
        /// Where it stands.
        field: &'static str,
        /// What stands there.
        value: Value,
    },
    /// No address.
    #[error("{field} holds {value:?}, which is not an address: write 10.0.0.5 or 10.0.0.5/24")]
    NotAnAddress {
        /// Where it stands.
        field: &'static str,
        /// What stands there.
        value: String,
    },
    /// An interface gets one address of a family.
    #[error("{first} and {second} are both {family}: an attachment has one address of each family")]
    SeveralOfAFamily {
        /// The first.
        first: IpAddr,
        /// The next.
        second: IpAddr,
        /// Of both.
        family: IpFamily,
    },
    /// Not a text.
    #[error("{field} must be a MAC address as a text, not {value}")]
    NotAText {
        /// Where it stands.
        field: &'static str,
        /// What stands there.
        value: Value,
    },
    /// No MAC address.
    #[error("{field}: {source}")]
    Mac {
        /// Where it stands.
        field: &'static str,
        /// What is wrong with it.
        source: MacError,
    },
    /// MAC addresses of Knap's own form belong to slots.
    #[error(
        "MAC address {mac} begins with 0a:, where an address belongs to a slot, and it is not this Network's own: \
         request one that does not begin with 0a:"
    )]
    ForeignSlot {
        /// As asked for.
        mac: Mac,
    },
    /// The MAC address belongs to one slot, the address to another.
    #[error(
        "MAC address {mac} belongs to slot {of_mac}, and the addresses asked for to slot {of_address}: \
         ask for one of them only"
    )]
    OtherSlot {
        /// As asked for.
        mac: Mac,
        /// Its slot.
        of_mac: knap_core::Slot,
        /// The address's.
        of_address: knap_core::Slot,
    },
    /// The hardware address is the device's.
    #[error("a MAC address can't be requested here: interfaces of this Network have their device's")]
    DeviceMac,
    /// The slot of an address has none of the other family.
    #[error(
        "slot {slot} of the addresses asked for has no free {family} address: ask for one of that family too"
    )]
    NoCounterpart {
        /// The slot.
        slot: knap_core::Slot,
        /// The family that lacks one.
        family: IpFamily,
    },
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// One per family at most.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) mac: Option<Mac>,
}

impl Wishes {
    /// Reads them. The capabilities count before the arguments, as in CNI's `static` plugin.
    pub(super) fn of(request: &AttachRequest) -> Result<Self, WishError> {
        let addresses = match addresses_in(&request.runtime_config, "runtimeConfig.ips")? {
            Some(addresses) => addresses,
            None => addresses_in(&request.args, "args.cni.ips")?.unwrap_or_default(),
        };
        let mac = match mac_in(&request.runtime_config, "runtimeConfig.mac")? {
            Some(mac) => Some(mac),
            None => mac_in(&request.args, "args.cni.mac")?,
        };
        for (index, second) in addresses.iter().enumerate() {
            let family = IpFamily::of(*second);
            if let Some(first) = addresses.iter().take(index).find(|first| IpFamily::of(**first) == family) {
                return Err(WishError::SeveralOfAFamily { first: *first, second: *second, family });
            }
        }
        Ok(Self { addresses, mac })
    }
}

/// None where nothing is asked for.
fn addresses_in(object: &JsonObject, field: &'static str) -> Result<Option<Vec<IpAddr>>, WishError> {
    let Some(value) = object.get("ips").filter(|value| !value.is_null()) else { return Ok(None) };
    let not_a_list = || WishError::NotAList { field, value: value.clone() };
    let texts: Vec<&str> = value
        .as_array()
        .ok_or_else(not_a_list)?
        .iter()
        .map(|item| item.as_str().ok_or_else(not_a_list))
        .collect::<Result<_, _>>()?;
    if texts.is_empty() {
        return Ok(None);
    }
    let parse = |text: &&str| {
        let address =
            text.parse::<IpAddr>().or_else(|_| text.parse::<IpNetwork>().map(|network| network.ip()));
        address.map_err(|_| WishError::NotAnAddress { field, value: (*text).to_owned() })
    };
    texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

fn mac_in(object: &JsonObject, field: &'static str) -> Result<Option<Mac>, WishError> {
    match object.get("mac") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            text.parse().map(Some).map_err(|source| WishError::Mac { field, source })
        }
        Some(value) => Err(WishError::NotAText { field, value: value.clone() }),
    }
}
