//! Objects as they are stored, and what the store itself keeps in their metadata, as the Kubernetes API server does.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::store::{Kind, ObjectName};

/// Names one stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    plural: String,
    /// Empty for cluster-scoped kinds.
    namespace: String,
    name: String,
}

impl Key {
    pub(super) fn new(plural: &str, namespace: &str, name: &str) -> Self {
        Self { plural: plural.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn of<K: Kind>(name: &ObjectName) -> Self {
        Self::new(&K::plural(&()), name.namespace.as_deref().unwrap_or_default(), &name.name)
    }

    pub(super) fn parts(&self) -> (&str, &str, &str) {
        (&self.plural, &self.namespace, &self.name)
    }

    pub(super) fn plural(&self) -> &str {
        &self.plural
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plural, namespace, name } = self;
        if namespace.is_empty() {
            write!(formatter, "{plural} {name}")
        } else {
            write!(formatter, "{plural} {namespace}/{name}")
        }
    }
}

/// One object with its version. In the file: eight bytes of version, then JSON without the resourceVersion, which
/// only the writer knows.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) json: Vec<u8>,
}

impl Stored {
    const VERSION_BYTES: usize = size_of::<u64>();

    /// What is too short to be one of ours becomes an empty object, which then fails to decode.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        match bytes.split_first_chunk::<{ Self::VERSION_BYTES }>() {
            Some((version, json)) => Self { version: u64::from_be_bytes(*version), json: json.to_vec() },
            None => Self { version: 0, json: Vec::new() },
        }
    }

    pub(super) fn to_bytes(version: u64, json: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::VERSION_BYTES + json.len());
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(json);
        bytes
    }

    pub(super) fn decode<K: Kind>(&self) -> Result<K, serde_json::Error> {
        let mut object: K = serde_json::from_slice(&self.json)?;
        object.meta_mut().resource_version = Some(self.version.to_string());
        Ok(object)
    }

    pub(super) fn body(&self) -> Result<Body, serde_json::Error> {
        serde_json::from_slice(&self.json)
    }
}

/// What is to be written: the JSON, and the labels to be found by.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) json: Vec<u8>,
    pub(super) labels: Vec<(String, String)>,
}

/// An object's JSON, without the resourceVersion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
    /// What the user wants: a change in it is a new generation.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Of the metadata, what only the store sets.
const KEPT: [&str; 4] = ["uid", "generation", "creationTimestamp", "deletionTimestamp"];

impl Body {
    /// A new object: with identity, without what its creator may not set.
    pub(super) fn created<K: Kind>(object: &K) -> Result<Self, serde_json::Error> {
        let mut body = Self::of(object)?;
        body.status = None;
        body.metadata.remove("deletionTimestamp");
        // In the order of creation, which timestamps of whole seconds do not tell.
        body.metadata.insert("uid".into(), uuid::Uuid::now_v7().to_string().into());
        body.metadata.insert("generation".into(), 1.into());
        body.metadata.insert("creationTimestamp".into(), now()?);
        Ok(body)
    }

    /// `self` replaced by `wanted`, but for its status and what only the store sets.
    pub(super) fn updated<K: Kind>(&self, wanted: &K) -> Result<Self, serde_json::Error> {
        let mut next = Self::of(wanted)?;
        for field in KEPT {
            match self.metadata.get(field) {
                Some(value) => next.metadata.insert(field.to_owned(), value.clone()),
                None => next.metadata.remove(field),
            };
        }
        next.status.clone_from(&self.status);
        if next.rest != self.rest {
            next.begin_generation();
        }
        Ok(next)
    }

    /// `self` with the status of `wanted`.
    pub(super) fn with_status<K: Kind>(&self, wanted: &K) -> Result<Self, serde_json::Error> {
        Ok(Self { status: Self::of(wanted)?.status, ..self.clone() })
    }

    /// `self` asked to go, as soon as those who wait for it (finalizers) let it.
    pub(super) fn deleted(&self) -> Result<Self, serde_json::Error> {
        let mut next = self.clone();
        next.metadata.insert("deletionTimestamp".into(), now()?);
        next.begin_generation();
        Ok(next)
    }

    /// Whether a delete was asked for.
    pub(super) fn is_deleted(&self) -> bool {
        self.metadata.get("deletionTimestamp").is_some_and(Value::is_string)
    }

    /// Whether somebody still has to clean up before it may go.
    pub(super) fn has_finalizers(&self) -> bool {
        let finalizers = self.metadata.get("finalizers").and_then(Value::as_array);
        finalizers.is_some_and(|finalizers| !finalizers.is_empty())
    }

    pub(super) fn uid(&self) -> Option<&str> {
        self.metadata.get("uid")?.as_str()
    }

    pub(super) fn labels(&self) -> Vec<(String, String)> {
        let labels = self.metadata.get("labels").and_then(Value::as_object).into_iter().flatten();
        labels.filter_map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned()))).collect()
    }

    pub(super) fn content(&self) -> Result<Content, serde_json::Error> {
        Ok(Content { json: serde_json::to_vec(self)?, labels: self.labels() })
    }

    fn of<K: Kind>(object: &K) -> Result<Self, serde_json::Error> {
        let mut body: Self = serde_json::from_value(serde_json::to_value(object)?)?;
        body.metadata.remove("resourceVersion");
        body.metadata.remove("managedFields");
        Ok(body)
    }

    fn begin_generation(&mut self) {
        let generation = self.metadata.get("generation").and_then(Value::as_i64).unwrap_or(0);
        self.metadata.insert("generation".into(), generation.saturating_add(1).into());
    }
}

fn now() -> Result<Value, serde_json::Error> {
    serde_json::to_value(Time(Timestamp::now()))
}
