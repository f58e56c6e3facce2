//! A provider's parameters as a table: which there are, and what each can be. All others are refused by name.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{JsonObject, ProviderError};

/// One parameter that a provider knows.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Flag,
    Word(&'static [&'static str]),
    Number(RangeInclusive<u64>),
    Any,
}

impl Parameter {
    /// `true` or `false`.
    pub(super) const fn flag(name: &'static str) -> Self {
        Self { name, kind: Kind::Flag }
    }

    /// One of these words.
    pub(super) const fn word(name: &'static str, words: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Word(words) }
    }

    /// A whole number.
    pub(super) const fn number(name: &'static str, range: RangeInclusive<u64>) -> Self {
        Self { name, kind: Kind::Number(range) }
    }

    /// Anything here: the provider looks at it itself.
    pub(super) const fn any(name: &'static str) -> Self {
        Self { name, kind: Kind::Any }
    }

    fn accepts(&self, value: &Value) -> bool {
        match &self.kind {
            Kind::Flag => value.is_boolean(),
            Kind::Word(words) => value.as_str().is_some_and(|value| words.contains(&value)),
            Kind::Number(range) => value.as_u64().is_some_and(|value| range.contains(&value)),
            Kind::Any => true,
        }
    }

    fn expected(&self) -> String {
        match &self.kind {
            Kind::Flag => "true or false".to_owned(),
            Kind::Word(words) => {
                words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
            }
            Kind::Number(range) => format!("a whole number from {} to {}", range.start(), range.end()),
            Kind::Any => "something else".to_owned(),
        }
    }
}

/// Refuses parameters that the table does not have, or not with this value.
pub(super) fn check(
    provider: &'static str,
    known: &[Parameter],
    given: &JsonObject,
) -> Result<(), ProviderError> {
    for (name, value) in given {
        let parameter =
            known.iter().find(|known| known.name == name).ok_or_else(|| ProviderError::UnknownParameter {
                provider,
                parameter: name.clone(),
                known: known.iter().map(|known| known.name).collect(),
            })?;
        if !parameter.accepts(value) {
            return Err(ProviderError::InvalidParameter {
                provider,
                parameter: name.clone(),
                value: value.clone(),
                expected: parameter.expected(),
            });
        }
    }
    Ok(())
}

/// A flag, where it is set.
pub(super) fn flag(given: &JsonObject, name: &str) -> Option<bool> {
    given.get(name).and_then(Value::as_bool)
}
