//! Where a pod may run: on nodes that carry the labels that its Networks need (design: scheduling). Pure, over the pod as
//! JSON, so that fields of later versions stay as they are.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// The pod's affinity with these labels of nodes required; none where it requires them already.
pub(super) fn requiring(pod: &Value, labels: &BTreeSet<String>) -> Option<Value> {
    let mut affinity = object(pod.pointer("/spec/affinity"));
    let mut node_affinity = object(affinity.get("nodeAffinity"));
    let mut required = object(node_affinity.get(REQUIRED));
    let mut terms = match required.get("nodeSelectorTerms") {
        Some(Value::Array(terms)) if !terms.is_empty() => terms.clone(),
        _ => vec![json!({ "matchExpressions": [] })],
    };
    let fresh = !required.contains_key("nodeSelectorTerms");
    let mut changed = false;
    for term in &mut terms {
        // A term without any requirement selects no node, and must not begin to select some.
        if fresh || !is_empty(term) {
            changed |= require(term, labels);
        }
    }
    if !changed {
        return None;
    }
    required.insert("nodeSelectorTerms".to_owned(), Value::Array(terms));
    node_affinity.insert(REQUIRED.to_owned(), Value::Object(required));
    affinity.insert("nodeAffinity".to_owned(), Value::Object(node_affinity));
    Some(Value::Object(affinity))
}

fn require(term: &mut Value, labels: &BTreeSet<String>) -> bool {
    let Value::Object(term) = term else { return false };
    let mut expressions = term.get("matchExpressions").and_then(Value::as_array).cloned().unwrap_or_default();
    let before = expressions.len();
    for label in labels {
        let wanted = json!({ "key": label, "operator": "In", "values": ["true"] });
        if !expressions.contains(&wanted) {
            expressions.push(wanted);
        }
    }
    let changed = expressions.len() > before;
    term.insert("matchExpressions".to_owned(), Value::Array(expressions));
    changed
}

fn is_empty(term: &Value) -> bool {
    let none = |field| term.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty);
    none("matchExpressions") && none("matchFields")
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn expression(label: &str) -> Value {
        json!({"key": label, "operator": "In", "values": ["true"]})
    }

    fn required(terms: &Value) -> Value {
        json!({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}})
    }

    #[rstest]
    #[case::none(json!({}), required(&json!([{"matchExpressions": [expression("a"), expression("b")]}])))]
    #[case::others_stay(
        json!({"podAntiAffinity": {"x": 1}, "nodeAffinity": {"preferred": [1], "later": {}}}),
        json!({
            "podAntiAffinity": {"x": 1},
            "nodeAffinity": {"preferred": [1], "later": {}, REQUIRED: {"nodeSelectorTerms":
                [{"matchExpressions": [expression("a"), expression("b")]}]}}
        })
    )]
    #[case::every_term(
        required(&json!([
            {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, {"matchFields": [{"key": "metadata.name"}]},
            {"matchExpressions": [expression("a")]}, {}
        ])),
        required(&json!([
            {"matchExpressions": [{"key": "zone", "operator": "Exists"}, expression("a"), expression("b")]},
            {"matchFields": [{"key": "metadata.name"}], "matchExpressions": [expression("a"), expression("b")]},
            {"matchExpressions": [expression("a"), expression("b")]}, {}
        ]))
    )]
    fn every_way_to_a_node_requires_the_labels(#[case] affinity: Value, #[case] expected: Value) {
        let labels = ["a", "b"].map(str::to_owned).into();
        let pod = json!({"spec": {"affinity": affinity}});
        assert_eq!(requiring(&pod, &labels), Some(expected.clone()));
        assert_eq!(requiring(&json!({"spec": {"affinity": expected}}), &labels), None, "the same again");
        assert_eq!(requiring(&pod, &BTreeSet::new()), None);
    }

    #[test]
    fn what_selects_no_node_still_selects_none() {
        let pod = json!({"spec": {"affinity": required(&json!([{}]))}});
        assert_eq!(requiring(&pod, &["a".to_owned()].into()), None);
    }
}
