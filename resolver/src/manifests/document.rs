//! From a file's text to objects: YAML or JSON, any number of documents, every error with its place.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{Namespace, Node, NodeSpec, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use knap_api::{GROUP, Network, NetworkClass, VERSION};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::metadata::{self, Scope};
use super::schema::{Schema, SchemaError};
use crate::store::ObjectName;

static NETWORK_SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<Network>);
static CLASS_SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<NetworkClass>);

/// An object from a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    /// Labels that classes' access and Networks' sharing select by.
    Namespace(Box<Namespace>),
    /// Labels that uplinks select by, and whether it is out of service.
    Node(Box<Node>),
    /// What an administrator offers.
    NetworkClass(Box<NetworkClass>),
    /// What a developer asks for.
    Network(Box<Network>),
}

impl Manifest {
    /// The object's kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "Namespace",
            Self::Node(_) => "Node",
            Self::NetworkClass(_) => "NetworkClass",
            Self::Network(_) => "Network",
        }
    }

    /// The object's name.
    pub fn name(&self) -> ObjectName {
        match self {
            Self::Namespace(object) => ObjectName::of(object.as_ref()),
            Self::Node(object) => ObjectName::of(object.as_ref()),
            Self::NetworkClass(object) => ObjectName::of(object.as_ref()),
            Self::Network(object) => ObjectName::of(object.as_ref()),
        }
    }
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML at all.
    #[error("invalid YAML: {0}")]
    Yaml(String),
    /// A document that is no object, or says not what it is.
    #[error("document {document} {problem}")]
    Shape {
        /// Counted from 1.
        document: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// An object of another kind.
    #[error(
        "document {document} is a {api_version} {kind}; this folder holds knap.github.com/v1alpha1 Network and \
         NetworkClass, v1 Namespace and Node"
    )]
    UnknownKind {
        /// Counted from 1.
        document: usize,
        /// Its apiVersion.
        api_version: String,
        /// Its kind.
        kind: String,
    },
    /// A value that the kind's schema does not allow.
    #[error("{object}: {source}")]
    Schema {
        /// `Network shop/blue`.
        object: String,
        /// Which value, and why.
        source: SchemaError,
    },
    /// A value outside `spec` that can't be.
    #[error("{object}: {reason}")]
    Invalid {
        /// `Network shop/blue`.
        object: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// One object, written twice in one file.
    #[error("{object} is in this file twice: remove one of them")]
    Twice {
        /// `Network shop/blue`.
        object: String,
    },
}

/// Reads all objects of a file, or says what is wrong with the first that can't be read.
pub fn parse(text: &str) -> Result<Vec<Manifest>, ManifestError> {
    // As YAML 1.2 has it: `n` and `off` are words, and may be names.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| ManifestError::Yaml(error.to_string()))?;
    let mut manifests: Vec<Manifest> = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        for object in items(index + 1, document)? {
            let manifest = manifest(index + 1, object)?;
            if manifests
                .iter()
                .any(|other| other.kind() == manifest.kind() && other.name() == manifest.name())
            {
                let object = format!("{} {}", manifest.kind(), manifest.name());
                return Err(ManifestError::Twice { object });
            }
            manifests.push(manifest);
        }
    }
    Ok(manifests)
}

/// The objects of a document: itself, or the items of a `v1 List`, which is what `kubectl get -o yaml` prints.
fn items(document: usize, value: Value) -> Result<Vec<Map<String, Value>>, ManifestError> {
    let shape = |problem| ManifestError::Shape { document, problem };
    let Value::Object(mut object) = value else {
        return Err(shape("is not an object with apiVersion and kind"));
    };
    if text(&object, "kind") != "List" {
        return Ok(vec![object]);
    }
    let Some(Value::Array(items)) = object.remove("items") else {
        return Err(shape("is a List without items"));
    };
    let objects = items.into_iter().map(|item| match item {
        Value::Object(object) => Ok(object),
        _ => Err(shape("has an item that is not an object")),
    });
    objects.collect()
}

fn manifest(document: usize, object: Map<String, Value>) -> Result<Manifest, ManifestError> {
    let (api_version, kind) = (text(&object, "apiVersion").to_owned(), text(&object, "kind").to_owned());
    if api_version.is_empty() || kind.is_empty() {
        return Err(ManifestError::Shape { document, problem: "does not say its apiVersion and kind" });
    }
    let knap = api_version == format!("{GROUP}/{VERSION}");
    match kind.as_str() {
        "Namespace" if api_version == "v1" => {
            let metadata = metadata_of(&object, Scope::Namespace)?;
            Ok(Manifest::Namespace(Box::new(Namespace { metadata, ..Namespace::default() })))
        }
        "Node" if api_version == "v1" => {
            let metadata = metadata_of(&object, Scope::Node)?;
            let spec = NodeSpec { taints: Some(taints_of(&object)?), ..NodeSpec::default() };
            Ok(Manifest::Node(Box::new(Node { metadata, spec: Some(spec), ..Node::default() })))
        }
        "NetworkClass" if knap => {
            let metadata = metadata_of(&object, Scope::Class)?;
            let spec = spec(object, &CLASS_SCHEMA)?;
            Ok(Manifest::NetworkClass(Box::new(NetworkClass { metadata, spec })))
        }
        "Network" if knap => {
            let metadata = metadata_of(&object, Scope::Network)?;
            let spec = spec(object, &NETWORK_SCHEMA)?;
            Ok(Manifest::Network(Box::new(Network { metadata, spec, status: None })))
        }
        _ => Err(ManifestError::UnknownKind { document, api_version, kind }),
    }
}

fn metadata_of(object: &Map<String, Value>, scope: Scope) -> Result<ObjectMeta, ManifestError> {
    let given = object.get("metadata").cloned().unwrap_or_default();
    metadata::read(given, scope).map_err(|reason| ManifestError::Invalid { object: title(object), reason })
}

/// Of a Node's spec, only the taints matter here: one says that it is out of service.
fn taints_of(object: &Map<String, Value>) -> Result<Vec<Taint>, ManifestError> {
    let taints = object.get("spec").and_then(|spec| spec.get("taints")).filter(|taints| !taints.is_null());
    taints.map_or_else(|| Ok(Vec::new()), |taints| serde_json::from_value(taints.clone())).map_err(|error| {
        ManifestError::Invalid { object: title(object), reason: format!("spec.taints: {error}") }
    })
}

/// A status in a file is what `kubectl get -o yaml` printed, and not the file's to say.
const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

fn spec<S: DeserializeOwned>(mut object: Map<String, Value>, schema: &Schema) -> Result<S, ManifestError> {
    if let Some(field) = object.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        let reason = format!("{field} is not a field of this kind; known here: {}", FIELDS.join(", "));
        return Err(ManifestError::Invalid { object: title(&object), reason });
    }
    schema.check(&object).map_err(|source| ManifestError::Schema { object: title(&object), source })?;
    let spec = object.remove("spec").unwrap_or_default();
    serde_json::from_value(spec)
        .map_err(|error| ManifestError::Invalid { object: title(&object), reason: format!("spec: {error}") })
}

fn title(object: &Map<String, Value>) -> String {
    let metadata = object.get("metadata").and_then(Value::as_object);
    let of = |field| metadata.map(|metadata| text(metadata, field)).filter(|text| !text.is_empty());
    let kind = text(object, "kind");
    match (of("namespace"), of("name")) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        (_, None) => format!("{kind} without a name"),
    }
}

fn text<'a>(object: &'a Map<String, Value>, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        match parse(text).unwrap().remove(0) {
            Manifest::Network(network) => *network,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_prototypes_shape_is_read_unchanged() {
        let network = network(
            "apiVersion: knap.github.com/v1alpha1\nkind: Network\nmetadata: {name: blue}\n\
             spec:\n  provider: bridge\n  hints: {vlan: \"100\"}\n",
        );
        assert_eq!(network.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(network.spec.provider.as_deref(), Some("bridge"));
        assert_eq!(network.spec.hints["vlan"], "100");
    }

    #[test]
    fn documents_lists_and_json_are_read() {
        let text = "# a comment alone\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n\
                    ---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  \
                    metadata: {name: n1.example, uid: x, managedFields: []}\n  spec: {podCIDR: 10.0.0.0/24}\n---\n";
        let names: Vec<_> =
            parse(text).unwrap().iter().map(|manifest| (manifest.kind(), manifest.name().name)).collect();
        assert_eq!(names, [("Namespace", "shop".to_owned()), ("Node", "n1.example".to_owned())]);
        let json = r#"{"apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass",
            "metadata": {"name": "fabric-a", "namespace": "ignored"}, "spec": {"provider": "macvlan", "fabric": null}}"#;
        assert_eq!(parse(json).unwrap()[0].name().to_string(), "fabric-a");
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn errors_name_object_and_field() {
        let network =
            "apiVersion: knap.github.com/v1alpha1\nkind: Network\nmetadata: {name: blue, namespace: shop}\n";
        let cases = [
            ("kind: [", "invalid YAML: "),
            ("- a\n", "document 1 is not an object"),
            ("kind: Network\n", "document 1 does not say its apiVersion"),
            ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", "document 1 is a v1 Pod; this folder holds"),
            (
                "apiVersion: knap.github.com/v1\nkind: Network\n",
                "document 1 is a knap.github.com/v1 Network;",
            ),
            (network, "Network shop/blue: spec is missing"),
            (&format!("{network}spec: {{subnet: x}}\n"), "Network shop/blue: spec.subnet is not a field"),
            (&format!("{network}spec: {{}}\nsepc: {{}}\n"), "Network shop/blue: sepc is not a field"),
            (
                &format!("{network}spec: {{}}\n---\n{network}spec: {{}}\n"),
                "Network shop/blue is in this file twice",
            ),
            (
                "apiVersion: v1\nkind: Node\nmetadata: {nmae: x}\n",
                "Node without a name: metadata.nmae is not a field",
            ),
            (
                "apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}\n",
                "Namespace a.b: metadata.name \"a.b\" is not",
            ),
            (
                "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {a: 1}}\n",
                "Node n: metadata.labels.a is 1, not text",
            ),
            (
                "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {taints: [{key: 1}]}\n",
                "Node n: spec.taints: invalid type",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let long = "a".repeat(41);
        let class = format!(
            "apiVersion: knap.github.com/v1alpha1\nkind: NetworkClass\nmetadata: {{name: {long}}}\nspec: {{provider: bridge}}\n"
        );
        assert!(parse(&class).unwrap_err().to_string().contains("at most 40 characters"));
    }
}
