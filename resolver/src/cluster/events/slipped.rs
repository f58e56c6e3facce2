//! Events on pods that ask for Networks, and that no webhook was asked about.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{note, warning};
use crate::admission::slipped;
use crate::identity::BoundPod;
use crate::store::{Store, StoreError};

/// Pods that are remembered as told; then all are forgotten, and what is told again is there already. Also how many may wait: what
/// comes then waits for its next change.
const MOST: usize = 10_000;
/// After a write that did not arrive.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of a pod's name in the Event's, which has 253.
const POD_NAME: usize = 230;

/// Tells of each such pod once. Every replica sees all pods; their Events have one name, so that there is one. Nothing else says the
/// same, and a pod may never change again: so each waits until its Event is written, however many come at once.
#[derive(Debug, Default)]
pub(crate) struct Slipped {
    known: Mutex<Known>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// UIDs, those of the waiting included.
    told: HashSet<String>,
    waiting: VecDeque<(String, Event)>,
}

impl Slipped {
    /// Looks at a pod that is new or has changed.
    pub(crate) fn see(&self, pod: &BoundPod) {
        let Some((uid, event)) = pod.uid().zip(event(pod)) else { return };
        let mut known = self.known.lock();
        if known.waiting.len() >= MOST {
            return;
        }
        if known.told.len() >= MOST {
            known.told.clear();
        }
        if known.told.insert(uid.clone()) {
            known.waiting.push_back((uid, event));
            self.news.notify_one();
        }
    }

    /// Writes their Events, and never ends.
    pub(crate) async fn write(self: Arc<Self>, store: impl Store) {
        loop {
            let next = self.known.lock().waiting.pop_front();
            let Some((uid, event)) = next else {
                self.news.notified().await;
                continue;
            };
            match store.create(&event).await {
                Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
                Err(error @ StoreError::Unavailable { .. }) => {
                    tracing::debug!(%error, "can't write an Event now; trying again");
                    self.known.lock().waiting.push_back((uid, event));
                    sleep(PAUSE).await;
                }
                // Its namespace is being deleted, say. If the pod is there yet, its next change shows it.
                Err(error) => {
                    tracing::debug!(%error, "can't write an Event");
                    self.known.lock().told.remove(&uid);
                }
            }
        }
    }
}

fn event(pod: &BoundPod) -> Option<Event> {
    let namespace = pod.namespace()?;
    let message =
        slipped(pod.annotations(), &namespace).filter(|_| pod.meta().deletion_timestamp.is_none())?;
    let (name, uid) = (pod.name_any(), pod.uid()?);
    let end =
        (0..=POD_NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or_default();
    let name = format!("{}.{}", name.get(..end).unwrap_or_default(), uid.get(..8).unwrap_or_default());
    Some(Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        note: Some(note(message, "")),
        regarding: Some(pod.object_ref(&())),
        ..warning("Admit", "NetworksIgnored", Timestamp::now())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::store::Labels;
    use crate::store::embedded::EmbeddedStore;
    use crate::testing::{Fate, Troubled, eventually};

    fn pod(name: &str, annotations: &serde_json::Value) -> BoundPod {
        let metadata =
            json!({"name": name, "namespace": "shop", "uid": "0123456789", "annotations": annotations});
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})).unwrap()
    }

    fn asking(name: &str) -> BoundPod {
        let mut asking = pod(name, &json!({"knap.github.com/networks": "blue"}));
        asking.metadata.uid = Some(format!("0123456789-{name}"));
        asking
    }

    #[test]
    fn one_event_stands_for_one_pod() {
        let event = event(&pod("web-0", &json!({"knap.github.com/networks": "blue"}))).unwrap();
        assert_eq!(event.metadata.name.as_deref(), Some("web-0.01234567"));
        assert_eq!(event.regarding.unwrap().kind.as_deref(), Some("Pod"));
        assert!(event.note.unwrap().contains("shop/blue"));
        assert_eq!(super::event(&pod("web-0", &json!({}))), None);
    }

    #[test]
    fn all_wait_however_many_come_at_once() {
        let slipped = Slipped::default();
        for number in 0..3000 {
            slipped.see(&asking(&format!("web-{number}")));
        }
        assert_eq!(slipped.known.lock().waiting.len(), 3000);
    }

    #[tokio::test]
    async fn each_is_told_once_though_writes_are_lost() {
        let (store, slipped) = (EmbeddedStore::in_memory().unwrap(), Arc::new(Slipped::default()));
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let away = Troubled::new(&store, move |_| {
            std::future::ready(match counted.fetch_add(1, Ordering::SeqCst) {
                0 => Fate::Lost,
                1 => Fate::Unanswered,
                _ => Fate::Served,
            })
        });
        let see_all = || ["a", "b", "c"].iter().for_each(|name| slipped.see(&asking(name)));
        see_all();
        let _writing = tokio::spawn(Arc::clone(&slipped).write(away));
        eventually("all are told", || calls.load(Ordering::SeqCst) == 5).await;
        see_all();
        slipped.see(&asking("last"));
        eventually("the last is told", || calls.load(Ordering::SeqCst) == 6).await;
        let mut events = Vec::new();
        while events.len() < 4 {
            events = store.list::<Event>(&Labels::new()).await.unwrap();
        }
        assert_eq!(calls.load(Ordering::SeqCst), 6);
    }

    #[tokio::test]
    async fn whose_event_is_refused_is_looked_at_again_when_it_changes() {
        let (store, slipped) = (EmbeddedStore::in_memory().unwrap(), Arc::new(Slipped::default()));
        let _writing = tokio::spawn(Arc::clone(&slipped).write(store));
        // No object can have that name.
        slipped.see(&asking("Web"));
        assert_eq!(slipped.known.lock().told.len(), 1);
        eventually("it is forgotten", || slipped.known.lock().told.is_empty()).await;
    }
}
