//! What a review depends on and the view does not know yet: it is read before anybody is refused, or let in.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use knap_api::Network;
use knap_protocol::NetworkName;

use super::Pod;
use super::selection::Selections;
use crate::admission::Question;
use crate::store::{ObjectName, Store, StoreError};
use crate::view::{LabelMap, View};

/// What was read for a review.
#[derive(Debug, Default)]
pub(crate) struct Read {
    networks: HashMap<NetworkName, Arc<Network>>,
    /// Of the pod's namespace, where it names Networks of others; none where nothing is filtered by label.
    labels: Option<Arc<LabelMap>>,
}

impl Read {
    /// Reads what a pod names.
    pub(in crate::admission) async fn of_pod<S: Store>(
        store: &S,
        view: &View,
        question: &Question,
    ) -> Result<Self, StoreError> {
        let pod = Pod::of(question);
        let selections = pod.asked().and_then(|text| Selections::read(text).ok()).unwrap_or_default();
        let names = selections.all.iter().filter_map(|selection| pod.network(selection));
        let names: BTreeSet<NetworkName> = names.collect();
        let mut read = Self::default();
        if names.iter().any(|name| name.namespace() != pod.namespace) {
            read.labels = view.namespace_labels(store, &pod.namespace).await?;
        }
        for name in names.into_iter().filter(|name| view.network(name).is_none()) {
            let object = ObjectName::namespaced(name.namespace(), name.name());
            if let Some(network) = store.get::<Network>(&object).await? {
                read.networks.insert(name, Arc::new(network));
            }
        }
        Ok(read)
    }

    /// A Network, as far as anybody knows it.
    pub(super) fn network(&self, view: &View, name: &NetworkName) -> Option<Arc<Network>> {
        view.network(name).or_else(|| self.networks.get(name).cloned())
    }

    /// Labels of the pod's namespace.
    pub(super) fn labels(&self) -> Option<&LabelMap> {
        self.labels.as_deref()
    }
}
