//! Label selectors, as Kubernetes has them (meta/v1 LabelSelector), parsed once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Labels of a namespace or a node.
pub type Labels = BTreeMap<String, String>;

/// Selects by labels. All parts must hold; one without parts selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must be there with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: Labels,
    /// Conditions on single keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

impl LabelSelector {
    /// Whether these labels are selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether an object is selected whose labels may be unknown: without labels nothing is filtered by label
    /// (design: the resolver, embedded store).
    pub fn admits(&self, labels: Option<&Labels>) -> bool {
        labels.is_none_or(|labels| self.matches(labels))
    }
}

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawRequirement", into = "RawRequirement")]
pub struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
}

/// A selector's expression that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Neither of the four operators.
    #[error(
        "operator {operator:?} of label {key:?} is none of In, NotIn, Exists and DoesNotExist: correct the selector"
    )]
    UnknownOperator {
        /// The label's key.
        key: String,
        /// What was written.
        operator: String,
    },
    /// In and NotIn compare with something.
    #[error("operator {operator} of label {key:?} needs values: give at least one")]
    MissingValues {
        /// The label's key.
        key: String,
        /// In or NotIn.
        operator: String,
    },
    /// Exists and DoesNotExist do not compare.
    #[error("operator {operator} of label {key:?} takes no values: remove them")]
    UnwantedValues {
        /// The label's key.
        key: String,
        /// Exists or DoesNotExist.
        operator: String,
    },
}

impl Requirement {
    /// A condition as it is written: `{key, operator, values}`.
    pub fn new(
        key: impl Into<String>,
        operator: &str,
        values: impl IntoIterator<Item = String>,
    ) -> Result<Self, SelectorError> {
        let (key, values) = (key.into(), values.into_iter().collect::<BTreeSet<_>>());
        let condition = match (operator, values.is_empty()) {
            ("In", false) => Condition::In(values),
            ("NotIn", false) => Condition::NotIn(values),
            ("Exists", true) => Condition::Exists,
            ("DoesNotExist", true) => Condition::DoesNotExist,
            ("In" | "NotIn", true) => {
                return Err(SelectorError::MissingValues { key, operator: operator.to_owned() });
            }
            ("Exists" | "DoesNotExist", false) => {
                return Err(SelectorError::UnwantedValues { key, operator: operator.to_owned() });
            }
            _ => return Err(SelectorError::UnknownOperator { key, operator: operator.to_owned() }),
        };
        Ok(Self { key, condition })
    }

    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.condition {
            Condition::In(values) => value.is_some_and(|value| values.contains(value)),
            // As in Kubernetes, an absent label is not in any list.
            Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Condition::Exists => value.is_some(),
            Condition::DoesNotExist => value.is_none(),
        }
    }
}

/// A requirement as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequirement {
    key: String,
    operator: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

impl TryFrom<RawRequirement> for Requirement {
    type Error = SelectorError;

    fn try_from(raw: RawRequirement) -> Result<Self, SelectorError> {
        Self::new(raw.key, &raw.operator, raw.values)
    }
}

impl From<Requirement> for RawRequirement {
    fn from(requirement: Requirement) -> Self {
        let (operator, values) = match requirement.condition {
            Condition::In(values) => ("In", values),
            Condition::NotIn(values) => ("NotIn", values),
            Condition::Exists => ("Exists", BTreeSet::new()),
            Condition::DoesNotExist => ("DoesNotExist", BTreeSet::new()),
        };
        Self { key: requirement.key, operator: operator.to_owned(), values: values.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[rstest]
    #[case::empty(json!({}), true)]
    #[case::label(json!({"matchLabels": {"rack": "a"}}), true)]
    #[case::other_value(json!({"matchLabels": {"rack": "b"}}), false)]
    #[case::one_of_two(json!({"matchLabels": {"rack": "a", "zone": "1"}}), false)]
    #[case::within(json!({"matchExpressions": [{"key": "rack", "operator": "In", "values": ["b", "a"]}]}), true)]
    #[case::not_within(json!({"matchExpressions": [{"key": "rack", "operator": "In", "values": ["b"]}]}), false)]
    #[case::absent_within(json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}), false)]
    #[case::excluded(json!({"matchExpressions": [{"key": "rack", "operator": "NotIn", "values": ["a"]}]}), false)]
    #[case::absent_excluded(
        json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}), true
    )]
    #[case::exists(json!({"matchExpressions": [{"key": "rack", "operator": "Exists"}]}), true)]
    #[case::absent_exists(json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}), false)]
    #[case::does_not_exist(json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), true)]
    #[case::both_parts(
        json!({"matchLabels": {"rack": "a"}, "matchExpressions": [{"key": "rack", "operator": "DoesNotExist"}]}),
        false
    )]
    fn selects_as_kubernetes_does(#[case] selector: serde_json::Value, #[case] selected: bool) {
        let parsed: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
        assert_eq!(parsed.matches(&labels(&[("rack", "a"), ("env", "")])), selected);
        assert!(parsed.admits(None), "without labels nothing is filtered");
        let again: LabelSelector = serde_json::from_value(serde_json::to_value(&parsed).unwrap()).unwrap();
        assert_eq!(again, parsed);
    }

    #[rstest]
    #[case("Near", &["a"], "none of In, NotIn, Exists and DoesNotExist")]
    #[case("In", &[], "needs values")]
    #[case("NotIn", &[], "needs values")]
    #[case("Exists", &["a"], "takes no values")]
    #[case("DoesNotExist", &["a"], "takes no values")]
    fn refuses_what_means_nothing(#[case] operator: &str, #[case] values: &[&str], #[case] why: &str) {
        let values = values.iter().map(|value| (*value).to_owned());
        let error = Requirement::new("rack", operator, values).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("\"rack\""), "{error}");
    }
}
