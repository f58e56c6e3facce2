//! The NetworkAttachmentDefinitions that there are, as a watch tells them. Kept by the leader alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use knap_api::NetworkAttachmentDefinition;
use kube::{Client, ResourceExt};
use parking_lot::Mutex;

use super::thin::{concerned, leads_to};
use crate::store::kubernetes::KubernetesStore;
use crate::store::{ObjectName, Store, WatchEvent, order_of};
use crate::view::{Change, View};

/// Between looks for a kind that is not there.
const LOOK: Duration = Duration::from_secs(5);

/// How much is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Still reading.
    Unread,
    /// The API server has no such kind.
    NotServed,
    /// Everything.
    Current,
}

#[derive(Debug)]
pub(super) struct Known {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    definitions: Definitions,
    /// How far the watch has told: a later version than that is news to it, an earlier one may be long past.
    told: u64,
    /// What a restarted watch has told so far.
    gathered: Option<Definitions>,
}

#[derive(Debug, Default)]
struct Definitions {
    by_name: HashMap<ObjectName, Arc<NetworkAttachmentDefinition>>,
    by_network: HashMap<ObjectName, BTreeSet<ObjectName>>,
}

impl Definitions {
    fn insert(&mut self, definition: NetworkAttachmentDefinition) {
        let name = ObjectName::of(&definition);
        self.remove(&name);
        if let Some(network) = leads_to(&definition) {
            self.by_network.entry(network).or_default().insert(name.clone());
        }
        self.by_name.insert(name, Arc::new(definition));
    }

    fn remove(&mut self, name: &ObjectName) {
        let Some(before) = self.by_name.remove(name) else { return };
        let Some(network) = leads_to(&before) else { return };
        if let Some(names) = self.by_network.get_mut(&network) {
            names.remove(name);
            if names.is_empty() {
                self.by_network.remove(&network);
            }
        }
    }
}

impl Known {
    pub(super) fn new() -> Self {
        let inner =
            Inner { state: State::Unread, definitions: Definitions::default(), told: 0, gathered: None };
        Self { inner: Mutex::new(inner) }
    }

    pub(super) fn state(&self) -> State {
        self.inner.lock().state
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<Arc<NetworkAttachmentDefinition>> {
        self.inner.lock().definitions.by_name.get(name).cloned()
    }

    /// Those that lead to a Network.
    pub(super) fn of(&self, network: &ObjectName) -> Vec<Arc<NetworkAttachmentDefinition>> {
        let inner = self.inner.lock();
        let names = inner.definitions.by_network.get(network).into_iter().flatten();
        names.filter_map(|name| inner.definitions.by_name.get(name).cloned()).collect()
    }

    /// All Networks that something leads to.
    pub(super) fn networks(&self) -> Vec<ObjectName> {
        self.inner.lock().definitions.by_network.keys().cloned().collect()
    }

    /// What the API server has answered is known before the watch tells it; what the watch has passed by then is not.
    pub(super) fn insert(&self, definition: NetworkAttachmentDefinition) {
        let mut inner = self.inner.lock();
        if order_of(&definition) > inner.told {
            inner.definitions.insert(definition);
        }
    }

    fn tell(&self, definition: NetworkAttachmentDefinition) {
        let mut inner = self.inner.lock();
        inner.told = inner.told.max(order_of(&definition));
        inner.definitions.insert(definition);
    }

    fn tell_gone(&self, definition: &NetworkAttachmentDefinition) {
        let mut inner = self.inner.lock();
        inner.told = inner.told.max(order_of(definition));
        inner.definitions.remove(&ObjectName::of(definition));
    }

    pub(super) fn remove(&self, name: &ObjectName) {
        self.inner.lock().definitions.remove(name);
    }

    pub(super) fn not_served(&self) {
        self.inner.lock().state = State::NotServed;
    }

    /// Whether this tells something new.
    fn is_new(&self, definition: &NetworkAttachmentDefinition) -> bool {
        let known = self.get(&ObjectName::of(definition));
        known.is_none_or(|known| known.resource_version() != definition.resource_version())
    }

    fn restart(&self) {
        self.inner.lock().gathered = Some(Definitions::default());
    }

    fn gather(&self, definition: NetworkAttachmentDefinition) {
        if let Some(gathered) = &mut self.inner.lock().gathered {
            gathered.insert(definition);
        }
    }

    fn complete(&self) {
        let mut inner = self.inner.lock();
        inner.definitions = inner.gathered.take().unwrap_or_default();
        inner.state = State::Current;
    }
}

/// Follows all definitions, and brings up the Networks that a change concerns.
pub(super) async fn follow(store: KubernetesStore, view: Arc<View>, known: Arc<Known>) {
    wait_until_served(&store.client(), &view, &known).await;
    let mut events = store.watch::<NetworkAttachmentDefinition>();
    while let Some(event) = events.next().await {
        match event {
            WatchEvent::Restarted => known.restart(),
            WatchEvent::Existing(definition) => known.gather(definition),
            WatchEvent::Current => {
                known.complete();
                view.tell(&Change::Everything);
                view.tell(&Change::NetworkGone);
            }
            WatchEvent::Applied(definition) => {
                if known.is_new(&definition) {
                    let before = known.get(&ObjectName::of(&definition));
                    known.tell(definition.clone());
                    tell(&view, &definition, before.as_deref());
                }
            }
            WatchEvent::Deleted(definition) => {
                known.tell_gone(&definition);
                tell(&view, &definition, None);
            }
        }
    }
}

/// Watching what is not there would only fill the log.
async fn wait_until_served(client: &Client, view: &View, known: &Known) {
    loop {
        match is_served(client).await {
            Ok(true) => return,
            Ok(false) if known.state() != State::NotServed => {
                tracing::warn!(
                    "the cluster has no NetworkAttachmentDefinitions: install Multus, or its CRD alone"
                );
                known.not_served();
                view.tell(&Change::Everything);
            }
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "can't look whether there are NetworkAttachmentDefinitions");
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the API server knows the kind.
pub(super) async fn is_served(client: &Client) -> Result<bool, kube::Error> {
    let group = format!("{}/{}", NetworkAttachmentDefinition::GROUP, NetworkAttachmentDefinition::VERSION);
    match client.list_api_group_resources(&group).await {
        Ok(list) => {
            Ok(list.resources.iter().any(|resource| resource.name == "network-attachment-definitions"))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

fn tell(view: &View, definition: &NetworkAttachmentDefinition, before: Option<&NetworkAttachmentDefinition>) {
    let mut networks = concerned(&ObjectName::of(definition));
    networks.extend(leads_to(definition));
    networks.extend(before.and_then(leads_to));
    networks.sort_unstable();
    networks.dedup();
    for network in networks {
        if view.networks.get(&network).is_some() {
            view.tell(&Change::Network(network));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn version(version: u64, config: &str) -> NetworkAttachmentDefinition {
        let metadata = json!({"namespace": "shop", "name": "blue", "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"config": config}})).unwrap()
    }

    fn config(known: &Known) -> Option<String> {
        known.get(&ObjectName::namespaced("shop", "blue"))?.spec.config.clone()
    }

    #[test]
    fn an_answer_that_comes_late_does_not_hide_what_was_told_since() {
        let known = Known::new();
        known.insert(version(5, "made"));
        assert_eq!(config(&known).as_deref(), Some("made"), "before the watch tells it");
        known.tell(version(5, "made"));
        known.tell(version(7, "changed by hand"));
        known.insert(version(6, "healed before that"));
        assert_eq!(config(&known).as_deref(), Some("changed by hand"));
        known.insert(version(8, "healed"));
        assert_eq!(config(&known).as_deref(), Some("healed"));
        known.tell_gone(&version(9, "healed"));
        known.insert(version(8, "healed"));
        assert_eq!(config(&known), None);
    }
}
