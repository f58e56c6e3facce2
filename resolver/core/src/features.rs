//! Features: what a Network needs, and what a class offers.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::IpFamily;

/// What a link carries unless somebody says otherwise. Bytes.
pub const DEFAULT_MTU: u32 = 1500;

/// A set of features. As a wish, `false`, empty and absent mean "either way".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Features {
    /// A broadcast domain of its own.
    pub isolation: bool,
    /// Packets bypass the host's kernel.
    pub hardware_acceleration: bool,
    /// Reaches outside the cluster.
    pub external: bool,
    /// As an offer: families that it can carry. As a wish: the families that the Network gets, no others.
    pub ip_families: BTreeSet<IpFamily>,
    /// As an offer: bytes, [`DEFAULT_MTU`] where absent. As a wish: at least so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

impl Features {
    /// Whether all of `wanted` is offered; the error lists everything that is not, not just the first.
    pub fn offers(&self, wanted: &Self) -> Result<(), MissingFeatures> {
        let flags = [
            (wanted.isolation, self.isolation, MissingFeature::Isolation),
            (wanted.hardware_acceleration, self.hardware_acceleration, MissingFeature::HardwareAcceleration),
            (wanted.external, self.external, MissingFeature::External),
        ];
        let mut missing: Vec<_> = flags
            .into_iter()
            .filter(|(wanted, offered, _)| *wanted && !offered)
            .map(|(_, _, feature)| feature)
            .collect();
        missing.extend(
            wanted.ip_families.difference(&self.ip_families).map(|family| MissingFeature::Family(*family)),
        );
        let offered = self.mtu.unwrap_or(DEFAULT_MTU);
        if let Some(wanted) = wanted.mtu.filter(|wanted| *wanted > offered) {
            missing.push(MissingFeature::Mtu { wanted, offered });
        }
        if missing.is_empty() { Ok(()) } else { Err(MissingFeatures(missing)) }
    }
}

/// One feature that is wanted and not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingFeature {
    /// A broadcast domain of its own.
    Isolation,
    /// Packets that bypass the host's kernel.
    HardwareAcceleration,
    /// The way out of the cluster.
    External,
    /// A family of addresses.
    Family(IpFamily),
    /// Packets of this size.
    Mtu {
        /// Bytes, at least.
        wanted: u32,
        /// Bytes, at most.
        offered: u32,
    },
}

impl fmt::Display for MissingFeature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isolation => formatter.write_str("isolation"),
            Self::HardwareAcceleration => formatter.write_str("hardwareAcceleration"),
            Self::External => formatter.write_str("external"),
            Self::Family(family) => family.fmt(formatter),
            Self::Mtu { wanted, offered } => write!(formatter, "mtu {wanted} (it has {offered})"),
        }
    }
}

/// Everything that is wanted and not offered; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct MissingFeatures(pub Vec<MissingFeature>);

impl fmt::Display for MissingFeatures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, feature) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{feature}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn fabric() -> Features {
        Features {
            isolation: true,
            external: true,
            ip_families: [IpFamily::IPv4].into(),
            mtu: Some(9000),
            ..Features::default()
        }
    }

    #[rstest]
    #[case::nothing(Features::default(), None)]
    #[case::all_of_it(fabric(), None)]
    #[case::a_smaller_mtu(Features { mtu: Some(1400), ..Features::default() }, None)]
    #[case::a_larger_mtu(Features { mtu: Some(9001), ..Features::default() }, Some("mtu 9001 (it has 9000)"))]
    #[case::a_family(
        Features { ip_families: [IpFamily::IPv4, IpFamily::IPv6].into(), ..Features::default() },
        Some("IPv6")
    )]
    #[case::several(
        Features { hardware_acceleration: true, ip_families: [IpFamily::IPv6].into(), ..fabric() },
        Some("hardwareAcceleration, IPv6")
    )]
    fn an_offer_meets_a_wish_or_names_all_that_is_missing(
        #[case] wanted: Features,
        #[case] missing: Option<&str>,
    ) {
        let answer = fabric().offers(&wanted).map_err(|missing| missing.to_string());
        assert_eq!(answer.err().as_deref(), missing);
    }

    #[test]
    fn an_offer_without_mtu_is_the_usual_one() {
        let wish = |mtu| Features { mtu: Some(mtu), ..Features::default() };
        assert_eq!(Features::default().offers(&wish(1500)), Ok(()));
        assert!(Features::default().offers(&wish(1501)).is_err());
    }
}
