//! One field: its place, and what may be wrong with it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use knap_core::{AddressRange, NumberError, PoolError, RangeError, SelectorError};

/// A field that can't be understood: of which object, where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {field}: {source}")]
pub struct TranslateError {
    /// `Network shop/blue`.
    pub object: String,
    /// `spec.reserved[2]`.
    pub field: String,
    /// What is wrong with it. Part of the message, which users see alone.
    pub source: FieldError,
}

/// What may be wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not a prefix.
    #[error("{0:?} is not a prefix: write an address and a length, as in 10.64.7.0/24 or fd00:64:7::/64")]
    Prefix(String),
    /// Not an address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// Not a range of addresses.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Address space that can't be carved.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Not a range of VLANs or VNIs.
    #[error(transparent)]
    Numbers(#[from] NumberError),
    /// A selector that means nothing.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// Two kinds of segments in one class.
    #[error("vlans and vxlan are both given: a class has one kind of segment, make two classes")]
    TwoKindsOfSegments,
    /// VXLAN without any network identifier.
    #[error("a class with vxlan needs at least one range of VNIs, as in 10000-19999")]
    NoVnis,
}

/// The fields of one object.
pub(super) struct Fields {
    object: String,
}

impl Fields {
    pub(super) const fn of(object: String) -> Self {
        Self { object }
    }

    /// Names the field that an error is about.
    pub(super) fn at<E: Into<FieldError>>(
        &self,
        field: impl Into<String>,
    ) -> impl FnOnce(E) -> TranslateError {
        let (object, field) = (self.object.clone(), field.into());
        move |source| TranslateError { object, field, source: source.into() }
    }

    /// Parses each item of a list.
    pub(super) fn each<T, E: Into<FieldError>>(
        &self,
        field: &str,
        items: &[String],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, TranslateError> {
        let items = items.iter().enumerate();
        items.map(|(index, text)| parse(text).map_err(self.at(format!("{field}[{index}]")))).collect()
    }
}

pub(super) fn prefix(text: &str) -> Result<IpNetwork, FieldError> {
    let length = text.split_once('/').map(|(_, length)| length);
    let numeric =
        length.is_some_and(|length| !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse().ok().filter(|_| numeric).ok_or_else(|| FieldError::Prefix(text.to_owned()))
}

pub(super) fn address(text: &str) -> Result<IpAddr, FieldError> {
    text.parse().map_err(|_| FieldError::Address(text.to_owned()))
}

pub(super) fn range(text: &str) -> Result<AddressRange, RangeError> {
    text.parse()
}
