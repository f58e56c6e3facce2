//! Names, labels and annotations of an object in a manifest.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{DEFAULT_NAMESPACE, FILE_ANNOTATION};
use crate::store::metadata::check;

/// Longest name of a namespace or a Network.
const LABEL_LENGTH: usize = 63;
/// Longest name of a class, which becomes part of other objects' names.
const CLASS_LENGTH: usize = 40;

/// What an object's name may be, and whether it is in a namespace.
#[derive(Clone, Copy)]
pub(super) enum Scope {
    Namespace,
    Node,
    Class,
    Network,
}

/// Of the metadata, what a file has to say: name, namespace, labels and annotations. The rest is what
/// `kubectl get -o yaml` printed. The error is what to tell the user.
pub(super) fn read(metadata: Value, scope: Scope) -> Result<ObjectMeta, String> {
    if let Some((field, _)) = metadata.as_object().into_iter().flatten().find(|(field, _)| !is_known(field)) {
        return Err(format!("metadata.{field} is not a field of metadata"));
    }
    for pairs in ["labels", "annotations"] {
        let mut pairs_of = metadata.get(pairs).and_then(Value::as_object).into_iter().flatten();
        if let Some((key, value)) = pairs_of.find(|(_, value)| !value.is_string()) {
            return Err(format!("metadata.{pairs}.{key} is {value}, not text: write it in quotes"));
        }
    }
    let given: ObjectMeta = serde_json::from_value(metadata).map_err(|error| format!("metadata: {error}"))?;
    let name = given.name.ok_or("metadata.name is missing")?;
    match scope {
        Scope::Class => check_name("metadata.name", &name, CLASS_LENGTH)?,
        Scope::Namespace | Scope::Network => check_name("metadata.name", &name, LABEL_LENGTH)?,
        // A DNS subdomain, which `check` sees to.
        Scope::Node => {}
    }
    let namespace = match scope {
        Scope::Network => Some(given.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())),
        Scope::Namespace | Scope::Node | Scope::Class => None,
    };
    if let Some(namespace) = &namespace {
        check_name("metadata.namespace", namespace, LABEL_LENGTH)?;
    }
    let mut annotations = given.annotations.unwrap_or_default();
    annotations.remove(FILE_ANNOTATION);
    let annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    let labels = given.labels.filter(|labels| !labels.is_empty());
    let metadata = ObjectMeta { name: Some(name), namespace, labels, annotations, ..ObjectMeta::default() };
    check(&metadata).map_err(|error| error.to_string())?;
    Ok(metadata)
}

fn is_known(field: &str) -> bool {
    const KNOWN: [&str; 14] = [
        "name",
        "namespace",
        "labels",
        "annotations",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "finalizers",
        "ownerReferences",
        "managedFields",
        "selfLink",
    ];
    KNOWN.contains(&field)
}

fn check_name(field: &str, name: &str, longest: usize) -> Result<(), String> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = name.chars().all(|c| word(c) || c == '-');
    if name.starts_with(word) && name.ends_with(word) && inner && name.len() <= longest {
        return Ok(());
    }
    Err(format!(
        "{field} {name:?} is not a DNS label of at most {longest} characters: lower-case letters, digits and '-', \
         beginning and ending with a letter or digit"
    ))
}
