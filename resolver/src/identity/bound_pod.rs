//! A pod as far as it tells who it is and where it runs. The rest of a pod is large, and is not even decoded.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

/// Annotation of the mirror of a static pod: the UID that the pod has on its node, where the kubelet made it from a file.
/// The mirror's own UID is another.
const STATIC_POD_UID: &str = "kubernetes.io/config.hash";

/// `v1` Pod, the two fields of it that matter here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BoundPod {
    /// Name, namespace, UID, annotations.
    pub metadata: ObjectMeta,
    /// Where it runs.
    #[serde(default)]
    pub spec: Binding,
}

/// Where a pod runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Absent until it is scheduled. Never changes afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
}

impl BoundPod {
    /// The node that it is bound to, if it is.
    pub fn node(&self) -> Option<&str> {
        self.spec.node_name.as_deref().filter(|node| !node.is_empty())
    }

    /// The UID by which its node knows it, where that is not the one in the API.
    pub fn static_uid(&self) -> Option<&str> {
        let annotations = self.metadata.annotations.as_ref()?;
        annotations.get(STATIC_POD_UID).map(String::as_str).filter(|uid| !uid.is_empty())
    }

    /// Whether this is the UID that the API or its node knows it by.
    pub fn is_known_as(&self, uid: &str) -> bool {
        self.metadata.uid.as_deref() == Some(uid) || self.static_uid() == Some(uid)
    }
}

impl Resource for BoundPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        "".into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_pod_is_read_for_what_matters() {
        let pod: BoundPod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-0", "namespace": "shop", "uid": "u1", "annotations": {STATIC_POD_UID: "hash"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "busybox"}]},
            "status": {"phase": "Running"}
        }))
        .unwrap();
        assert_eq!(pod.node(), Some("n1"));
        assert!(pod.is_known_as("u1") && pod.is_known_as("hash"));
        assert!(!pod.is_known_as("") && !pod.is_known_as("u2"));
        let unbound: BoundPod = serde_json::from_value(json!({"metadata": {}})).unwrap();
        assert_eq!((unbound.node(), unbound.is_known_as("u1")), (None, false));
    }
}
