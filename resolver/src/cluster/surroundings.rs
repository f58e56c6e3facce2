//! What a cluster has around the store: NetworkAttachmentDefinitions and Events.

use std::sync::Arc;

use knap_api::Network;
use knap_core::Class;
use tokio::task::JoinSet;

use super::events::Events;
use super::nad::Definitions;
use crate::provision::{News, Published, Subject, Surroundings};
use crate::store::kubernetes::KubernetesStore;
use crate::store::{ObjectName, StoreError};
use crate::view::View;

/// For the leader's controllers.
pub(crate) struct Cluster {
    definitions: Definitions,
    events: Events,
}

impl Cluster {
    /// Its tasks run in the given set.
    pub(crate) fn new(
        store: &KubernetesStore,
        view: &Arc<View>,
        events: Events,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (definitions, follow) = Definitions::new(store.clone(), Arc::clone(view));
        tasks.spawn(follow);
        Self { definitions, events }
    }
}

impl Surroundings for Cluster {
    async fn publish(&self, subject: &Subject<'_>) -> Result<Option<Published>, StoreError> {
        self.definitions.publish(subject).await
    }

    async fn keep(&self, network: &Network, class: Option<&Class>) -> Result<Option<Published>, StoreError> {
        self.definitions.keep(network, class).await
    }

    async fn withdraw(&self, network: &ObjectName) -> Result<(), StoreError> {
        self.definitions.withdraw(network).await
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        self.definitions.sweep().await
    }

    fn tell(&self, network: &Network, news: News) {
        self.events.tell(network, news);
    }
}
