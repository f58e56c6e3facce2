//! Objects against the schema of their CRD, as an API server checks them: one truth for both stores.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use regex::Regex;
use serde_json::{Map, Value};

/// The schema of one kind's `spec`.
pub(super) struct Schema {
    spec: JSONSchemaProps,
}

/// A value that the schema does not allow: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct SchemaError {
    /// `spec.routes[0].destination`.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A field that must be there.
    #[error("is missing")]
    Missing,
    /// A field that the kind does not have.
    #[error("is not a field of this kind; known here: {known}")]
    Unknown {
        /// The fields that there are.
        known: String,
    },
    /// Text where a number is meant, and the like.
    #[error("is {found}, not {expected}")]
    Type {
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// None of those that there are.
    #[error("is {found}; choose one of {choices}")]
    Choice {
        /// What it is.
        found: String,
        /// What it may be.
        choices: String,
    },
    /// Too long, too short, too many, too large.
    #[error("is {found}, {bound} allowed")]
    Bound {
        /// What it is, with its unit.
        found: String,
        /// `at most 40`.
        bound: String,
    },
    /// Text of another form.
    #[error("is {found:?}, which is not of the form {pattern}")]
    Form {
        /// What it is.
        found: String,
        /// A regular expression.
        pattern: String,
    },
}

impl Schema {
    /// Of a kind whose CRD has one version, as all of ours do.
    pub(super) fn of<K: CustomResourceExt>() -> Self {
        let schema =
            K::crd().spec.versions.into_iter().find_map(|version| version.schema?.open_api_v3_schema);
        let spec = schema.and_then(|schema| schema.properties?.remove("spec"));
        Self { spec: spec.unwrap_or_default() }
    }

    /// Checks an object's `spec`, down to the first value that is not allowed.
    pub(super) fn check(&self, object: &Map<String, Value>) -> Result<(), SchemaError> {
        let spec = object.get("spec").ok_or_else(|| Problem::Missing.at(&Path("spec".to_owned())))?;
        check(&self.spec, spec, &Path("spec".to_owned()))
    }
}

/// Where a value is.
struct Path(String);

impl Path {
    fn field(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
}

impl Problem {
    fn at(self, path: &Path) -> SchemaError {
        SchemaError { field: path.0.clone(), problem: self }
    }
}

fn check(schema: &JSONSchemaProps, value: &Value, path: &Path) -> Result<(), SchemaError> {
    if value.is_null() && schema.nullable == Some(true) {
        return Ok(());
    }
    check_type(schema, value).map_err(|problem| problem.at(path))?;
    check_choice(schema, value).map_err(|problem| problem.at(path))?;
    match value {
        Value::Object(object) => check_object(schema, object, path),
        Value::Array(items) => check_array(schema, items, path),
        Value::String(text) => check_text(schema, text).map_err(|problem| problem.at(path)),
        Value::Number(number) => {
            check_number(schema, number.as_f64().unwrap_or(f64::NAN)).map_err(|problem| problem.at(path))
        }
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn check_type(schema: &JSONSchemaProps, value: &Value) -> Result<(), Problem> {
    let Some(expected) = schema.type_.as_deref() else { return Ok(()) };
    let fits = match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    };
    if fits { Ok(()) } else { Err(Problem::Type { expected: article(expected), found: describe(value) }) }
}

fn check_choice(schema: &JSONSchemaProps, value: &Value) -> Result<(), Problem> {
    let Some(choices) = &schema.enum_ else { return Ok(()) };
    if choices.iter().any(|choice| choice.0 == *value) {
        return Ok(());
    }
    let choices = choices.iter().map(|choice| match &choice.0 {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    Err(Problem::Choice { found: describe(value), choices: choices.collect::<Vec<_>>().join(", ") })
}

fn check_object(
    schema: &JSONSchemaProps,
    object: &Map<String, Value>,
    path: &Path,
) -> Result<(), SchemaError> {
    for name in schema.required.iter().flatten() {
        if !object.contains_key(name) {
            return Err(Problem::Missing.at(&path.field(name)));
        }
    }
    if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
        return Ok(());
    }
    let none = BTreeMap::new();
    let known = schema.properties.as_ref().unwrap_or(&none);
    for (name, value) in object {
        let path = path.field(name);
        match (known.get(name), &schema.additional_properties) {
            (Some(schema), _) => check(schema, value, &path)?,
            (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => check(schema, value, &path)?,
            (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
            (None, _) => {
                let known = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(Problem::Unknown { known }.at(&path));
            }
        }
    }
    Ok(())
}

fn check_array(schema: &JSONSchemaProps, items: &[Value], path: &Path) -> Result<(), SchemaError> {
    bound("items", items.len(), schema.min_items, schema.max_items).map_err(|problem| problem.at(path))?;
    let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items else { return Ok(()) };
    items.iter().enumerate().try_for_each(|(index, item)| check(schema, item, &path.item(index)))
}

fn check_text(schema: &JSONSchemaProps, text: &str) -> Result<(), Problem> {
    bound("characters", text.chars().count(), schema.min_length, schema.max_length)?;
    let Some(pattern) = &schema.pattern else { return Ok(()) };
    // A pattern that does not compile is a defect of the kind, found by the test below, not of the manifest.
    match Regex::new(pattern) {
        Ok(regex) if !regex.is_match(text) => {
            Err(Problem::Form { found: text.to_owned(), pattern: pattern.clone() })
        }
        _ => Ok(()),
    }
}

fn check_number(schema: &JSONSchemaProps, number: f64) -> Result<(), Problem> {
    if let Some(minimum) = schema.minimum.filter(|minimum| number < *minimum) {
        return Err(Problem::Bound { found: number.to_string(), bound: format!("at least {minimum}") });
    }
    if let Some(maximum) = schema.maximum.filter(|maximum| number > *maximum) {
        return Err(Problem::Bound { found: number.to_string(), bound: format!("at most {maximum}") });
    }
    Ok(())
}

fn bound(unit: &str, found: usize, minimum: Option<i64>, maximum: Option<i64>) -> Result<(), Problem> {
    let size = i64::try_from(found).unwrap_or(i64::MAX);
    let broken = match (minimum, maximum) {
        (Some(minimum), _) if size < minimum => format!("at least {minimum}"),
        (_, Some(maximum)) if size > maximum => format!("at most {maximum}"),
        _ => return Ok(()),
    };
    Err(Problem::Bound { found: format!("{found} {unit}"), bound: broken })
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::String(text) => format!("the text {text:?}"),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use knap_api::{Network, NetworkClass};
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn network(spec: &Value) -> Result<(), String> {
        let object = json!({ "spec": spec });
        Schema::of::<Network>().check(object.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[rstest]
    #[case(json!({}), Ok(()))]
    #[case(json!({"provider": "bridge", "hints": {"any": "text"}, "requires": null}), Ok(()))]
    #[case(json!({"sharedWith": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}), Ok(()))]
    #[case(json!({"subnet": []}), Err("spec.subnet is not a field of this kind; known here: addressPolicy, class, dns"))]
    #[case(json!({"class": "A"}), Err(r#"spec.class is "A", which is not of the form ^[a-z0-9]"#))]
    #[case(json!({"class": "a".repeat(41)}), Err("spec.class is 41 characters, at most 40 allowed"))]
    #[case(json!({"ipam": "Static"}), Err(r#"spec.ipam is the text "Static"; choose one of Managed, None, DHCP"#))]
    #[case(json!({"requires": {"mtu": 20}}), Err("spec.requires.mtu is 20, at least 68 allowed"))]
    #[case(json!({"requires": {"mtu": "9000"}}), Err(r#"spec.requires.mtu is the text "9000", not an integer"#))]
    #[case(json!({"routes": [{"gateway": "10.0.0.1"}]}), Err("spec.routes[0].destination is missing"))]
    #[case(json!({"reserved": [7]}), Err("spec.reserved[0] is 7, not a string"))]
    #[case(json!({"hints": {"a": 1}}), Err("spec.hints.a is 1, not a string"))]
    #[case(json!({"subnets": vec!["10.0.0.0/24"; 17]}), Err("spec.subnets is 17 items, at most 16 allowed"))]
    fn a_value_is_named_with_what_is_wrong(#[case] spec: Value, #[case] expected: Result<(), &str>) {
        match (network(&spec), expected) {
            (Ok(()), Ok(())) => {}
            (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn parameters_are_free() {
        let object = json!({ "spec": {"provider": "cni", "parameters": {"plugins": [{"type": "ptp", "x": {"y": 1}}]}}});
        assert_eq!(Schema::of::<NetworkClass>().check(object.as_object().unwrap()), Ok(()));
    }

    #[test]
    fn every_pattern_compiles() {
        fn patterns(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    found.extend(object.get("pattern").and_then(Value::as_str).map(str::to_owned));
                    object.values().for_each(|value| patterns(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| patterns(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        for schema in [Schema::of::<Network>(), Schema::of::<NetworkClass>()] {
            patterns(&serde_json::to_value(&schema.spec).unwrap(), &mut found);
        }
        assert!(!found.is_empty());
        for pattern in found {
            assert!(Regex::new(&pattern).is_ok(), "{pattern}");
        }
    }
}
