//! Ranges of numbers that separate broadcast domains: VLANs and VXLAN network identifiers.

use std::collections::BTreeSet;
use std::fmt;

/// What a number stands for, and so what its bounds are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberKind {
    /// An 802.1Q VLAN ID, 1 to 4094.
    Vlan,
    /// A VXLAN network identifier, 1 to 16777215 (RFC 7348).
    Vni,
}

impl NumberKind {
    /// The highest number; the lowest is 1.
    pub const fn highest(self) -> u32 {
        match self {
            Self::Vlan => 4094,
            Self::Vni => (1 << 24) - 1,
        }
    }
}

impl fmt::Display for NumberKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Vlan => "VLAN",
            Self::Vni => "VNI",
        })
    }
}

/// Numbers of one kind that a class may give out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberRanges {
    kind: NumberKind,
    /// First and last, both included; sorted, without overlap.
    ranges: Vec<(u32, u32)>,
}

/// Why a text is no range of numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Neither `100` nor `100-199`.
    #[error("{text:?} is not a range of {kind}s: write 100 or 100-199")]
    Malformed {
        /// What it should be.
        kind: NumberKind,
        /// As written.
        text: String,
    },
    /// Below 1 or above the highest of its kind.
    #[error("{kind} range {text:?} is out of bounds: {kind}s go from 1 to {}", kind.highest())]
    OutOfBounds {
        /// What it should be.
        kind: NumberKind,
        /// As written.
        text: String,
    },
    /// The last comes before the first.
    #[error("{kind} range {text:?} ends before it begins")]
    Backwards {
        /// What it should be.
        kind: NumberKind,
        /// As written.
        text: String,
    },
}

impl NumberRanges {
    /// Reads `100` and `100-199`, in any order; ranges may overlap, and a part may hold several with commas.
    pub fn parse<'a>(
        kind: NumberKind,
        parts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, NumberError> {
        let mut ranges = Vec::new();
        for text in parts.into_iter().flat_map(|part| part.split(',')) {
            ranges.push(parse_range(kind, text.trim())?);
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Ok(Self { kind, ranges: merged })
    }

    /// What these numbers stand for.
    pub const fn kind(&self) -> NumberKind {
        self.kind
    }

    /// How many numbers there are.
    pub fn count(&self) -> u32 {
        self.ranges.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether the number is one of these.
    pub fn contains(&self, number: u32) -> bool {
        self.ranges.iter().any(|&(first, last)| first <= number && number <= last)
    }

    /// The lowest number that is not taken.
    pub fn first_free(&self, taken: &BTreeSet<u32>) -> Option<u32> {
        self.ranges.iter().find_map(|&(first, last)| {
            let mut free = first;
            for &number in taken.range(first..=last) {
                if number != free {
                    break;
                }
                free += 1;
            }
            (free <= last).then_some(free)
        })
    }
}

impl fmt::Display for NumberRanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(formatter, "{comma}{first}")?;
            } else {
                write!(formatter, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

fn parse_range(kind: NumberKind, text: &str) -> Result<(u32, u32), NumberError> {
    let parse = |part: &str| {
        let part = part.trim();
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return Err(NumberError::Malformed { kind, text: text.to_owned() });
        }
        // Digits that overflow are a number out of bounds.
        part.parse::<u32>()
            .ok()
            .filter(|number| (1..=kind.highest()).contains(number))
            .ok_or_else(|| NumberError::OutOfBounds { kind, text: text.to_owned() })
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse(first)?, parse(last)?);
    if first <= last {
        Ok((first, last))
    } else {
        Err(NumberError::Backwards { kind, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vlans(parts: &[&str]) -> Result<NumberRanges, NumberError> {
        NumberRanges::parse(NumberKind::Vlan, parts.iter().copied())
    }

    #[test]
    fn ranges_merge() {
        let ranges = vlans(&["200-210", "100", "101-150", "140-160, 4094"]).unwrap();
        assert_eq!(ranges.to_string(), "100-160,200-210,4094");
        assert_eq!(ranges.count(), 61 + 11 + 1);
        assert!(ranges.contains(160) && !ranges.contains(161));
    }

    #[test]
    fn bounds_are_the_standards() {
        for text in ["0", "4095", "0-10", "4090-5000", "99999999999"] {
            assert!(matches!(vlans(&[text]), Err(NumberError::OutOfBounds { .. })), "{text}");
        }
        for text in ["", "a", "1-", "-1", "1-2-3", "+5", "1,,2"] {
            assert!(matches!(vlans(&[text]), Err(NumberError::Malformed { .. })), "{text}");
        }
        assert!(matches!(vlans(&["20-10"]), Err(NumberError::Backwards { .. })));
        assert!(NumberRanges::parse(NumberKind::Vni, ["1-16777215"]).is_ok());
        assert_eq!(
            NumberRanges::parse(NumberKind::Vni, ["16777216"]).unwrap_err().to_string(),
            "VNI range \"16777216\" is out of bounds: VNIs go from 1 to 16777215"
        );
    }

    proptest! {
        #[test]
        fn first_free_is_what_a_search_finds(
            spans in prop::collection::vec((1u32..60, 0u32..10), 0..6),
            taken in prop::collection::btree_set(1u32..70, 0..70),
        ) {
            let texts: Vec<String> = spans.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            let ranges = NumberRanges::parse(NumberKind::Vlan, texts.iter().map(String::as_str)).unwrap();
            let member = |number: &u32| spans.iter().any(|(first, more)| (*first..=first + more).contains(number));
            let naive = (1..100).find(|number| member(number) && !taken.contains(number));
            prop_assert_eq!(ranges.first_free(&taken), naive);
            prop_assert_eq!(ranges.count() as usize, (1..100).filter(member).count());
        }
    }
}
