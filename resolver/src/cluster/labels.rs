//! Labels of Nodes: which classes each can serve. By them pods that need a Network are scheduled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Node;
use knap_api::{CLASS_LABEL_PREFIX, DHCP_LABEL, class_label};
use knap_core::{Class, NodeNeeds, Unfit, check_node};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Map, Value, json};

use crate::nodes::{DueNodes, Pace, equipment_at};
use crate::provision::built_in_classes;
use crate::store::ObjectName;
use crate::store::kubernetes::FIELD_MANAGER;
use crate::translate;
use crate::view::View;

/// Changes are gathered, since many nodes report at once after a start.
const PACE: Pace = Pace {
    look: Duration::from_secs(30),
    gather: Duration::from_millis(200),
    all: |view| view.nodes.names(),
};
/// Nodes that are written at once.
const AT_ONCE: usize = 16;
/// For one write.
const ANSWER: Duration = Duration::from_secs(10);

/// Keeps Nodes labelled. One of all replicas runs it.
pub(crate) struct NodeLabels {
    client: Client,
    view: Arc<View>,
}

impl NodeLabels {
    /// For all Nodes that the view knows.
    pub(crate) const fn new(client: Client, view: Arc<View>) -> Self {
        Self { client, view }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let mut due = DueNodes::of(&self.view, PACE).await;
        while let Some(nodes) = due.next().await {
            self.pass(nodes).await;
        }
    }

    async fn pass(&self, nodes: BTreeSet<String>) {
        let needs = needs(&classes(&self.view));
        let due: Vec<(String, Map<String, Value>)> =
            nodes.into_iter().filter_map(|node| self.differences(node, &needs)).collect();
        for some in due.chunks(AT_ONCE) {
            join_all(some.iter().map(|(node, labels)| self.write(node, labels))).await;
        }
    }

    /// What has to change on a Node; nothing where all is as it should be.
    fn differences(
        &self,
        node: String,
        needs: &[(String, NodeNeeds)],
    ) -> Option<(String, Map<String, Value>)> {
        let known = self.view.nodes.get(&ObjectName::cluster(&*node))?;
        let equipment = equipment_at(&self.view, &node)?;
        let checked = needs.iter().map(|(label, needs)| (label.as_str(), check_node(needs, &equipment)));
        let differences = differences(&known.labels, &checked.collect::<Vec<_>>());
        (!differences.is_empty()).then_some((node, differences))
    }

    async fn write(&self, node: &str, labels: &Map<String, Value>) {
        let nodes = Api::<Node>::all(self.client.clone());
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
        let labels = Value::Object(labels.clone());
        let written = tokio::time::timeout(ANSWER, nodes.patch_metadata(node, &parameters, &patch)).await;
        match written {
            Ok(Ok(_)) => tracing::info!(node, %labels, "labelled"),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
            Ok(Err(error)) => tracing::warn!(node, %error, "can't label a node; trying again"),
            Err(_) => tracing::warn!(node, "can't label a node in time; trying again"),
        }
    }
}

/// All classes that Networks can be of.
fn classes(view: &View) -> Vec<Class> {
    let known = view.classes.all();
    let known = known.iter().filter_map(|class| translate::class(class).ok());
    known.chain(built_in_classes()).collect()
}

/// What each label says that a node has.
fn needs(classes: &[Class]) -> Vec<(String, NodeNeeds)> {
    let dhcp = (DHCP_LABEL.to_owned(), NodeNeeds::default().with_dhcp());
    let of_classes = classes.iter().map(|class| (class_label(&class.name), NodeNeeds::of(class)));
    of_classes.chain([dhcp]).collect()
}

/// A merge patch of labels: those that are missing, and (as null) those of Knap's that are there and should not be. Labels of
/// others are left as they are.
fn differences(
    labels: &BTreeMap<String, String>,
    wanted: &[(&str, Result<(), Unfit>)],
) -> Map<String, Value> {
    let is_wanted = |label: &str| wanted.iter().any(|(wanted, fits)| *wanted == label && fits.is_ok());
    let mut differences = Map::new();
    for label in labels.keys().filter(|label| label.starts_with(CLASS_LABEL_PREFIX)) {
        if !is_wanted(label) {
            differences.insert(label.clone(), Value::Null);
        }
    }
    for (label, fits) in wanted {
        match fits {
            Ok(()) if labels.get(*label).map(String::as_str) != Some("true") => {
                differences.insert((*label).to_owned(), json!("true"));
            }
            Err(reason) if labels.contains_key(*label) => {
                tracing::info!(label, %reason, "a node does not serve any more what a label of it says");
            }
            _ => {}
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use knap_core::{Equipment, Found};

    use super::*;

    #[test]
    fn a_node_with_the_plugin_dhcp_says_so_whatever_its_classes() {
        let [(label, needs)] = &needs(&[])[..] else { panic!("a label beside those of classes") };
        let node = |plugin: &str| {
            let delegates = [plugin.to_owned()].into();
            Equipment { found: Some(Found { delegates, ..Found::default() }), ..Equipment::default() }
        };
        assert_eq!(label, "network.knap.github.com/ipam.dhcp");
        assert_eq!(check_node(needs, &node("dhcp")), Ok(()));
        assert!(check_node(needs, &node("static")).is_err());
    }

    #[test]
    fn only_labels_of_classes_are_written_and_only_where_they_differ() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let (a, b, c) = (class_label("a"), class_label("b"), class_label("c"));
        let there = labels(&[("rack", "a"), (&a, "true"), (&b, "true"), (&class_label("gone"), "true")]);
        let wanted = [(a.as_str(), Ok(())), (b.as_str(), Err(Unfit::NoUplink)), (c.as_str(), Ok(()))];
        let expected = json!({b.as_str(): null, class_label("gone"): null, c.as_str(): "true"});
        assert_eq!(Value::Object(differences(&there, &wanted)), expected);
        let right = labels(&[("rack", "a"), (&a, "true"), (&c, "true")]);
        assert!(differences(&right, &wanted).is_empty());
        assert_eq!(differences(&labels(&[(&a, "yes")]), &wanted[..1]).len(), 1, "the value counts");
    }
}
