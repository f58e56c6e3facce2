//! What `deploy/` holds, read as an API server would.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::SYSTEM;
use crate::binaries;

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The objects of a stream of YAML.
pub fn parse(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    all.into_iter().filter(|object| !object.is_null()).collect()
}

/// What `kubectl apply -k` would apply.
pub fn kustomized(folder: &str) -> Vec<Value> {
    let kubectl = std::env::var_os("KNAP_KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from);
    let built = Command::new(kubectl).arg("kustomize").arg(repository(folder)).output().expect("kubectl");
    assert!(built.status.success(), "kubectl kustomize {folder}: {}", String::from_utf8_lossy(&built.stderr));
    parse(&String::from_utf8(built.stdout).expect("UTF-8"))
}

/// What the chart makes with these values, as `helm template --set` takes them.
///
/// # Panics
/// With what to do, where nothing is named that renders it.
pub fn charted(values: &[&str]) -> Vec<Value> {
    charted_in(SYSTEM, values)
}

/// The same for a release in another namespace.
///
/// # Panics
/// As [`charted`].
pub fn charted_in(namespace: &str, values: &[&str]) -> Vec<Value> {
    let renderer = std::env::var_os("KNAP_CHART_RENDERER")
        .expect("export KNAP_CHART_RENDERER=$(tests/setup/chart-renderer.sh), or run this tier by `make test TIERS=node`");
    let made = Command::new(&renderer)
        .arg("knap")
        .arg(repository("deploy/helm/knap"))
        .arg(namespace)
        .args(values)
        .output();
    let made = made.expect("the chart's renderer");
    assert!(made.status.success(), "the chart with {values:?}: {}", String::from_utf8_lossy(&made.stderr));
    parse(&String::from_utf8(made.stdout).expect("UTF-8"))
}

/// The webhook objects that the resolver prints when it is given these words.
pub fn webhooks(words: &str) -> Vec<Value> {
    let mut command = Command::new(binaries::knap_resolver());
    let printed = command.arg("webhooks").args(words.split_whitespace()).output().expect("the resolver");
    assert!(printed.status.success(), "webhooks {words}: {}", String::from_utf8_lossy(&printed.stderr));
    parse(&String::from_utf8(printed.stdout).expect("UTF-8"))
}

/// An object's kind, and its name with its namespace.
pub fn identity(object: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    (text(&object["kind"]), format!("{}/{}", text(&metadata["namespace"]), text(&metadata["name"])))
}

/// # Panics
/// If an object has a member that its kind does not, at any depth, or one of another type.
pub fn assert_strictly<K: Serialize + DeserializeOwned>(object: &Value) {
    let (kind, name) = identity(object);
    let read: K =
        serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    let known = serde_json::to_value(read).expect("JSON");
    assert_within(object, &known, &format!("{kind} {name}"));
}

/// Whether all that was written is known. What the type fills in is no matter, nor how it writes empty lists and numbers.
fn assert_within(written: &Value, known: &Value, place: &str) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (key, value) in written {
                let inside = known.get(key).unwrap_or(&Value::Null);
                let empty = value.as_object().is_some_and(serde_json::Map::is_empty)
                    || value == &Value::Array(Vec::new());
                assert!(!inside.is_null() || empty || value.is_null(), "{place}: {key} is unknown");
                assert_within(value, inside, &format!("{place}.{key}"));
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            assert_eq!(written.len(), known.len(), "{place}");
            written.iter().zip(known).for_each(|(written, known)| assert_within(written, known, place));
        }
        _ => {}
    }
}
