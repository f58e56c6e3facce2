//! Devices that a pod needs of device plugins: asked for exactly once, whoever else asks for them too. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The first container's resources with what is missing of these; none where nothing is.
///
/// What other containers ask for counts: Multus takes the devices of the whole pod.
pub(super) fn requesting(pod: &Value, needed: &BTreeMap<String, u64>) -> Option<Value> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array)?;
    let first = containers.first()?.get("resources");
    let mut resources = first.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut changed = false;
    for (resource, needed) in needed {
        let asked: u64 = containers.iter().map(|container| asked_by(container, resource)).sum();
        let Some(missing) = needed.checked_sub(asked).filter(|missing| *missing > 0) else { continue };
        let own = containers.first().map_or(0, |container| asked_by(container, resource));
        for kind in ["requests", "limits"] {
            let mut amounts = resources.get(kind).and_then(Value::as_object).cloned().unwrap_or_default();
            amounts.insert(resource.clone(), json!((own + missing).to_string()));
            resources.insert(kind.to_owned(), Value::Object(amounts));
        }
        changed = true;
    }
    changed.then_some(Value::Object(resources))
}

/// Of devices, limits and requests are the same; where only one is given, the API server sets the other later.
fn asked_by(container: &Value, resource: &str) -> u64 {
    let resources = container.get("resources").and_then(Value::as_object);
    let amount = |resources: &Map<String, Value>, kind| match resources.get(kind)?.get(resource)? {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let amounts = ["requests", "limits"].map(|kind| resources.and_then(|resources| amount(resources, kind)));
    amounts.into_iter().flatten().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const POOL: &str = "vendor.com/pool";

    fn pod(containers: &Value) -> Value {
        json!({"spec": {"containers": containers}})
    }

    #[rstest]
    #[case::none(json!([{}]), 1, Some("1"))]
    #[case::injected(json!([{"resources": {"requests": {POOL: "1"}, "limits": {POOL: "1"}}}]), 1, None)]
    #[case::limits_alone(json!([{"resources": {"limits": {POOL: 1}}}]), 1, None)]
    #[case::in_another_container(json!([{}, {"resources": {"requests": {POOL: "2"}}}]), 2, None)]
    #[case::one_of_two(json!([{"resources": {"requests": {POOL: "1"}}}]), 2, Some("2"))]
    #[case::beside_another(json!([{}, {"resources": {"requests": {POOL: "1"}}}]), 3, Some("2"))]
    #[case::more_than_needed(json!([{"resources": {"requests": {POOL: "4"}}}]), 2, None)]
    fn devices_are_asked_for_once(
        #[case] containers: Value,
        #[case] needed: u64,
        #[case] amount: Option<&str>,
    ) {
        let needed = [(POOL.to_owned(), needed)].into();
        let mut pod = pod(&containers);
        let resources = requesting(&pod, &needed);
        assert_eq!(resources.as_ref().map(|found| found["requests"][POOL].as_str()), amount.map(Some));
        if let Some(resources) = resources {
            assert_eq!(resources["limits"], resources["requests"]);
            pod["spec"]["containers"][0]["resources"] = resources;
        }
        assert_eq!(requesting(&pod, &needed), None, "the same again");
    }

    #[test]
    fn what_else_is_asked_for_stays() {
        let pod = pod(&json!([{"resources": {"requests": {"cpu": "1"}, "claims": [1]}}]));
        let resources = requesting(&pod, &[(POOL.to_owned(), 1)].into()).unwrap();
        let expected = json!({"requests": {"cpu": "1", POOL: "1"}, "limits": {POOL: "1"}, "claims": [1]});
        assert_eq!(resources, expected);
        assert_eq!(requesting(&json!({"spec": 7}), &[(POOL.to_owned(), 1)].into()), None);
    }
}
