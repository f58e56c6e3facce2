//! Versions of the CNI specification that Knap serves, and the choice among them.

use std::fmt;

/// A version of the CNI specification. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CniVersion {
    /// Results with `interfaces` and `ips[].version`.
    V0_3_1,
    /// Adds CHECK, and `prevResult` at DEL.
    V0_4_0,
    /// Drops `ips[].version`.
    V1_0_0,
    /// Adds GC and STATUS, and more fields of interfaces and routes.
    V1_1_0,
}

impl CniVersion {
    /// All that Knap serves, oldest first.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest that Knap serves.
    pub const LATEST: Self = Self::V1_1_0;

    /// As configurations write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// None where Knap does not serve it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// All versions, for messages.
    pub fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// The version to speak with a delegate that knows `known`, for a configuration at `self`: the highest not above
    /// it, else the lowest above. None where none is ours.
    pub fn negotiate(self, known: &[String]) -> Option<Self> {
        let shared =
            || Self::ALL.into_iter().filter(|ours| known.iter().any(|theirs| theirs == ours.as_str()));
        shared().filter(|version| *version <= self).max().or_else(|| shared().min())
    }
}

impl fmt::Display for CniVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::same("1.0.0", &["0.3.1", "0.4.0", "1.0.0", "1.1.0"], Some("1.0.0"))]
    #[case::older_delegate("1.1.0", &["0.3.0", "0.3.1", "0.4.0", "1.0.0"], Some("1.0.0"))]
    #[case::newer_delegate("0.3.1", &["1.1.0", "1.0.0"], Some("1.0.0"))]
    #[case::unordered("1.0.0", &["1.1.0", "0.3.1", "0.4.0"], Some("0.4.0"))]
    #[case::unknown_to_us("1.1.0", &["0.1.0", "0.2.0", "2.0.0"], None)]
    #[case::none("1.1.0", &[], None)]
    fn a_delegate_is_spoken_to_in_its_own_version(
        #[case] config: &str,
        #[case] known: &[&str],
        #[case] expected: Option<&str>,
    ) {
        let known: Vec<String> = known.iter().map(|&version| version.to_owned()).collect();
        let chosen = CniVersion::parse(config).unwrap().negotiate(&known);
        assert_eq!(chosen.map(CniVersion::as_str), expected);
    }
}
