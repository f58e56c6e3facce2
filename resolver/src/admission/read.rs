//! What a review depends on and the view does not know yet: it is read before anybody is refused, or let in.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use knap_api::{Network, NetworkClass};
use knap_protocol::NetworkName;

use super::{Question, pod};
use crate::provision::{Namespaces, built_in_by_name, class_name, is_ready};
use crate::store::{ObjectName, Store, StoreError};
use crate::view::{LabelMap, View};

/// Between looks whether the view has caught up.
const CATCHING_UP: Duration = Duration::from_millis(20);

/// Waits until the view knows a class that there is: by it, pods go to the nodes that can serve them.
async fn class_is_known<S: Store>(store: &S, view: &View, name: &str) -> Result<(), StoreError> {
    let object = ObjectName::cluster(name);
    let is_known = || view.classes.get(&object).is_some();
    if is_known() || built_in_by_name(name).is_some() || store.get::<NetworkClass>(&object).await?.is_none() {
        return Ok(());
    }
    while !is_known() {
        tokio::time::sleep(CATCHING_UP).await;
    }
    Ok(())
}

/// What was read for a review.
#[derive(Debug, Default)]
pub(crate) struct Read {
    networks: HashMap<NetworkName, Arc<Network>>,
    namespaces: Namespaces,
}

impl Read {
    /// Reads what a pod names: Networks, and the namespaces whose labels decide about them.
    pub(super) async fn of_pod<S: Store>(
        store: &S,
        view: &View,
        question: &Question,
    ) -> Result<Self, StoreError> {
        let (namespace, names) = pod::asked_networks(question);
        let mut read = Self::default();
        if names.iter().any(|name| name.namespace() != namespace) {
            read.namespace(store, view, &namespace).await?;
        }
        for name in names {
            let network = match view.network(&name) {
                Some(known) => known,
                None => {
                    let object = ObjectName::namespaced(name.namespace(), name.name());
                    let Some(found) = store.get::<Network>(&object).await? else { continue };
                    let found = Arc::new(found);
                    read.networks.insert(name.clone(), Arc::clone(&found));
                    found
                }
            };
            if let Some(class) = class_name(&network).or(network.spec.class.as_deref()) {
                class_is_known(store, view, class).await?;
            }
            // Which class will serve it depends on that too.
            if class_name(&network).is_none() {
                read.namespace(store, view, name.namespace()).await?;
            }
        }
        Ok(read)
    }

    /// Reads the namespace that a Network is in: both may have been made at once.
    pub(super) async fn of_network<S: Store>(
        store: &S,
        view: &View,
        question: &Question,
    ) -> Result<Self, StoreError> {
        let mut read = Self::default();
        if let Some(namespace) = question.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
            read.namespace(store, view, namespace).await?;
        }
        Ok(read)
    }

    /// Reads the namespaces of Networks that are served, by which class ever.
    pub(super) async fn of_class<S: Store>(store: &S, view: &View) -> Result<Self, StoreError> {
        let networks =
            view.networks.select(|name, network| is_ready(network).then(|| name.namespace.clone()));
        let namespaces: BTreeSet<String> = networks.into_iter().flatten().collect();
        let mut read = Self::default();
        for namespace in namespaces {
            read.namespace(store, view, &namespace).await?;
        }
        Ok(read)
    }

    async fn namespace<S: Store>(&mut self, store: &S, view: &View, name: &str) -> Result<(), StoreError> {
        if let Some(labels) = view.namespace_labels(store, name).await? {
            self.namespaces.insert(name.to_owned(), labels);
        }
        Ok(())
    }

    /// A Network, as far as anybody knows it.
    pub(super) fn network(&self, view: &View, name: &NetworkName) -> Option<Arc<Network>> {
        view.network(name).or_else(|| self.networks.get(name).cloned())
    }

    /// Labels of a namespace; none where nothing is filtered by label.
    pub(super) fn labels(&self, namespace: &str) -> Option<&LabelMap> {
        self.namespaces.get(namespace).map(|labels| &**labels)
    }

    /// Labels of all namespaces that were asked for.
    pub(super) const fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }
}
