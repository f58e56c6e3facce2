//! KubeVirt's VirtualMachine, by the members that each of its types has.
//!
//! `kubevirt.json` is that of KubeVirt 1.7: the types that a VirtualMachine is made of, taken from the npm package
//! `@kubevirt-ui-ext/kubevirt-api` 1.7.0 (Apache-2.0), which is generated from KubeVirt's own OpenAPI document. No crate has them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Per type and member: a JSON type, the name of a type, a list of one of these, or a map, as a member without a name.
type Types = BTreeMap<String, BTreeMap<String, Value>>;

const TYPES: &str = include_str!("kubevirt.json");

/// # Panics
/// If a VirtualMachine has a member that KubeVirt does not know, at any depth, or one of another type.
pub fn assert_virtual_machine(object: &Value) {
    let types: Types = serde_json::from_str(TYPES).expect("the types of KubeVirt");
    if let Err(wrong) = look(&types, &Value::from("V1VirtualMachine"), object) {
        panic!("{wrong}");
    }
}

fn look(types: &Types, kind: &Value, value: &Value) -> Result<(), String> {
    let inside = |place: &str| {
        let place = place.to_owned();
        move |wrong: String| format!("{place}.{wrong}")
    };
    match (kind, value) {
        (Value::Array(kind), Value::Array(values)) => {
            values.iter().try_for_each(|value| look(types, &kind[0], value).map_err(inside("[]")))
        }
        (Value::Object(kind), Value::Object(values)) => {
            values.iter().try_for_each(|(key, value)| look(types, &kind[""], value).map_err(inside(key)))
        }
        (Value::String(kind), value) => match (kind.as_str(), value) {
            ("object" | "any", Value::Object(_))
            | ("string", Value::String(_))
            | ("number", Value::Number(_))
            | ("boolean", Value::Bool(_)) => Ok(()),
            (kind, Value::Object(values)) => {
                let members = types.get(kind).ok_or_else(|| format!(": an object, and not {kind}"))?;
                values.iter().try_for_each(|(name, value)| {
                    let kind =
                        members.get(name).ok_or_else(|| format!("{name}: {kind} has no such member"))?;
                    look(types, kind, value).map_err(inside(name))
                })
            }
            (kind, value) => Err(format!(": {value}, and not {kind}")),
        },
        (kind, value) => Err(format!(": {value}, and not {kind}")),
    }
}
