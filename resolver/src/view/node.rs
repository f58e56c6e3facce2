//! What is kept of a Node: the rest of it is large, and changes every few seconds.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::LabelMap;

/// The taint by which an administrator says that a node is shut down, and will not come back by itself.
const OUT_OF_SERVICE_TAINT: &str = "node.kubernetes.io/out-of-service";

/// A Node, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownNode {
    /// All of its labels.
    pub labels: Arc<LabelMap>,
    /// It carries the taint.
    pub out_of_service: bool,
    /// Resources of device plugins that it has something of.
    pub resources: BTreeSet<String>,
    /// Another for a Node that was deleted and made anew.
    pub uid: String,
    /// The annotation by which its tokens are revoked, as written.
    pub tokens_not_before: Option<String>,
}

impl KnownNode {
    /// From the whole.
    pub(crate) fn of(node: Node) -> Self {
        let mut annotations = node.metadata.annotations.unwrap_or_default();
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let capacity = node.status.and_then(|status| status.capacity).unwrap_or_default();
        let resources =
            capacity.into_iter().filter(|(name, quantity)| name.contains('/') && quantity.0 != "0");
        Self {
            labels: Arc::new(node.metadata.labels.unwrap_or_default()),
            out_of_service: taints.iter().any(|taint| taint.key == OUT_OF_SERVICE_TAINT),
            resources: resources.map(|(name, _)| name).collect(),
            uid: node.metadata.uid.unwrap_or_default(),
            tokens_not_before: annotations.remove(knap_api::NODE_TOKENS_NOT_BEFORE_ANNOTATION),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_known_by_what_matters() {
        let node = json!({
            "metadata": {"name": "n1", "labels": {"rack": "a"}},
            "spec": {"taints": [{"key": OUT_OF_SERVICE_TAINT, "value": "nodeshutdown", "effect": "NoExecute"}]},
            "status": {"capacity": {"cpu": "2", "vendor.com/pool": "8", "vendor.com/none": "0"}}
        });
        let known = KnownNode::of(serde_json::from_value(node).unwrap());
        assert_eq!(known.labels.get("rack").map(String::as_str), Some("a"));
        assert!(known.out_of_service);
        assert_eq!(known.resources, BTreeSet::from(["vendor.com/pool".to_owned()]));
        assert_eq!(KnownNode::of(Node::default()), KnownNode::default());
    }
}
