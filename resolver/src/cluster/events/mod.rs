//! Events: what a person sees in `kubectl describe`. They are written by a task of their own, so that nobody waits for them.

mod pod;
mod series;
mod slipped;

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use knap_api::Network;
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use crate::attach::{FailedAttachment, Witness};
use crate::provision::News;
use crate::store::Store;
use crate::store::kubernetes::{FIELD_MANAGER, KubernetesStore};
use series::AllSeries;
pub(crate) use slipped::Slipped;

/// Events that may wait to be written. What comes when so many wait is lost: conditions and answers say the same.
const QUEUE: usize = 1024;
/// Bytes of a note that the API server takes.
const NOTE: usize = 1024;
/// How often it is looked whether failures have waited long enough.
const LOOK: Duration = Duration::from_secs(10);

/// Where Events are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<Told>,
}

/// What is handed in.
#[derive(Debug)]
enum Told {
    Event(Box<Event>),
    Failed(Box<FailedAttachment>, Timestamp),
}

impl Events {
    /// And the task that writes them, which never ends.
    pub(crate) fn new(store: KubernetesStore) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, handed_in) = mpsc::channel(QUEUE);
        (Self { queue }, write(store, handed_in))
    }

    /// About a Network.
    pub(super) fn tell(&self, network: &Network, news: News) {
        self.hand_in(Told::Event(Box::new(event(network, news))));
    }

    fn hand_in(&self, told: Told) {
        if let Err(lost) = self.queue.try_send(told) {
            tracing::debug!(event = ?lost.into_inner(), "an Event is lost: too many wait");
        }
    }
}

impl Witness for Events {
    fn failed(&self, failed: FailedAttachment) {
        self.hand_in(Told::Failed(Box::new(failed), Timestamp::now()));
    }
}

async fn write(store: KubernetesStore, mut handed_in: mpsc::Receiver<Told>) {
    let (mut failures, mut look) = (AllSeries::default(), interval(LOOK));
    loop {
        let due = tokio::select! {
            told = handed_in.recv() => match told {
                Some(Told::Event(event)) => {
                    unless_written(store.create(&*event).await);
                    continue;
                }
                Some(Told::Failed(failed, when)) => {
                    failures.take(*failed, when, Instant::now()).into_iter().collect()
                }
                None => return std::future::pending().await,
            },
            _ = look.tick() => failures.due(Instant::now()),
        };
        for failures in due {
            unless_written(pod::write(&store, &failures).await);
        }
    }
}

/// A namespace that is being deleted takes none, and another replica may write the same one.
fn unless_written<T>(written: Result<T, crate::store::StoreError>) {
    if let Err(error) = written {
        tracing::debug!(%error, "can't write an Event");
    }
}

fn event(network: &Network, news: News) -> Event {
    let now = Timestamp::now();
    let name = format!("{}.{:x}", network.name_any(), now.as_nanosecond());
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: network.namespace(), ..ObjectMeta::default() },
        note: Some(note(news.message, "")),
        regarding: Some(network.object_ref(&())),
        type_: Some(if news.warning { "Warning" } else { "Normal" }.to_owned()),
        ..warning(news.action, &news.reason, now)
    }
}

/// What all warnings have.
fn warning(action: &str, reason: &str, when: Timestamp) -> Event {
    Event {
        action: Some(action.to_owned()),
        event_time: Some(MicroTime(when)),
        reason: Some(reason.to_owned()),
        reporting_controller: Some(FIELD_MANAGER.to_owned()),
        reporting_instance: Some(FIELD_MANAGER.to_owned()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}

/// As long as a note may be, with what must not be cut off.
fn note(mut text: String, end: &str) -> String {
    let room = NOTE.saturating_sub(end.len());
    if text.len() > room {
        let cut = (0..=room.saturating_sub(3)).rev().find(|cut| text.is_char_boundary(*cut));
        text.truncate(cut.unwrap_or_default());
        text.push_str("...");
    }
    text.push_str(end);
    text
}

#[cfg(test)]
mod fixture {
    use knap_protocol::{PodRef, ProblemKind};

    use super::FailedAttachment;

    /// A failure on node n1.
    pub(super) fn failed(pod: &str, text: &str) -> FailedAttachment {
        FailedAttachment {
            id: "d-1".to_owned(),
            node: "n1".parse().unwrap(),
            network: "shop/blue".parse().unwrap(),
            pod: PodRef { namespace: "shop".to_owned(), name: pod.to_owned(), uid: Some(format!("u-{pod}")) },
            kind: ProblemKind::Full,
            text: text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_as_long_as_the_api_server_takes() {
        assert_eq!(note("short".to_owned(), "."), "short.");
        let long = note("ü".repeat(NOTE), "!");
        assert!(long.len() <= NOTE && long.ends_with("ü...!"), "{}", long.len());
    }
}
