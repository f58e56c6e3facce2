//! What a pod's annotation asks for.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value};

/// One network of `k8s.v1.cni.cncf.io/networks`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Selection {
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) interface: String,
    #[serde(default, rename = "cni-args")]
    pub(super) cni_args: Option<Value>,
    /// mac, ips, bandwidth, portMappings, infiniband-guid, …
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl Selection {
    /// Both forms: a JSON list, and `namespace/name@interface, …`. What names no namespace is in the pod's own.
    pub(super) fn all(annotation: &str, own_namespace: &str) -> anyhow::Result<Vec<Self>> {
        let annotation = annotation.trim();
        let mut all: Vec<Self> = if annotation.starts_with('[') {
            serde_json::from_str(annotation).context("the networks annotation, in JSON")?
        } else {
            annotation.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Self::of_word).collect()
        };
        for (number, selection) in all.iter_mut().enumerate() {
            if selection.namespace.is_empty() {
                own_namespace.clone_into(&mut selection.namespace);
            }
            if selection.interface.is_empty() {
                selection.interface = format!("net{}", number + 1);
            }
        }
        Ok(all)
    }

    fn of_word(word: &str) -> Self {
        let (rest, interface) = word.split_once('@').unwrap_or((word, ""));
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            interface: interface.to_owned(),
            cni_args: None,
            more: Map::new(),
        }
    }

    /// What the selection says of the capabilities that a configuration declares.
    pub(super) fn runtime_config(&self, config: &Value, device: Option<&str>) -> Map<String, Value> {
        let mut all = self.more.clone();
        if let Some(guid) = all.remove("infiniband-guid") {
            all.insert("infinibandGUID".to_owned(), guid);
        }
        if let Some(device) = device {
            all.insert("deviceID".to_owned(), Value::from(device));
        }
        all.retain(|name, _| config["capabilities"][name].as_bool() == Some(true));
        all
    }
}
