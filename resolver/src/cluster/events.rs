//! Events: what a person sees in `kubectl describe`. They are written by a task of their own, so that nobody waits for them.

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use knap_api::Network;
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc;

use crate::provision::News;
use crate::store::Store;
use crate::store::kubernetes::{FIELD_MANAGER, KubernetesStore};

/// Events that may wait to be written. What comes when so many wait is lost: conditions say the same.
const QUEUE: usize = 1024;
/// Bytes of a note that the API server takes.
const NOTE: usize = 1024;

/// Where Events are handed in.
pub(super) struct Events {
    queue: mpsc::Sender<Event>,
}

impl Events {
    /// And the task that writes them.
    pub(super) fn new(store: KubernetesStore) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, handed_in) = mpsc::channel(QUEUE);
        (Self { queue }, write(store, handed_in))
    }

    /// About a Network.
    pub(super) fn tell(&self, network: &Network, news: News) {
        if self.queue.try_send(event(network, news)).is_err() {
            tracing::debug!(network = network.name_any(), "an Event is lost: too many wait");
        }
    }
}

async fn write(store: KubernetesStore, mut handed_in: mpsc::Receiver<Event>) {
    while let Some(event) = handed_in.recv().await {
        // A namespace that is being deleted takes none.
        if let Err(error) = store.create(&event).await {
            tracing::debug!(%error, "can't write an Event");
        }
    }
    std::future::pending::<()>().await;
}

fn event(network: &Network, news: News) -> Event {
    let now = Timestamp::now();
    let namespace = network.namespace();
    let name = format!("{}.{:x}", network.name_any(), now.as_nanosecond());
    Event {
        action: Some(news.action.to_owned()),
        event_time: Some(MicroTime(now)),
        metadata: ObjectMeta { name: Some(name), namespace, ..ObjectMeta::default() },
        note: Some(shortened(news.message)),
        reason: Some(news.reason),
        regarding: Some(network.object_ref(&())),
        reporting_controller: Some(FIELD_MANAGER.to_owned()),
        reporting_instance: Some(FIELD_MANAGER.to_owned()),
        type_: Some(if news.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > NOTE {
        let end = (0..=NOTE - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_as_long_as_the_api_server_takes() {
        assert_eq!(shortened("short".to_owned()), "short");
        let long = shortened("ü".repeat(NOTE));
        assert!(long.len() <= NOTE && long.ends_with("ü..."), "{}", long.len());
    }
}
