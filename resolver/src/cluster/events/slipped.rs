//! Events on pods that ask for Networks, and that no webhook was asked about.

use std::collections::HashSet;

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

use super::{Events, Told, note, warning};
use crate::admission::slipped;
use crate::identity::BoundPod;

/// Pods whose Event is remembered; then all are forgotten, and what is told again is there already.
const MOST: usize = 10_000;
/// Bytes of a pod's name in the Event's, which has 253.
const POD_NAME: usize = 230;

/// Tells of each such pod once. Every replica sees all pods; their Events have one name, so that there is one.
pub(crate) fn tell(events: Events) -> impl Fn(&BoundPod) + Send + 'static {
    let told = Mutex::new(HashSet::new());
    move |pod| {
        let Some(event) = event(pod) else { return };
        let mut told = told.lock();
        if told.len() >= MOST {
            told.clear();
        }
        if told.insert(pod.uid()) {
            events.hand_in(Told::Event(Box::new(event)));
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
    use serde_json::json;

    use super::*;

    #[test]
    fn one_event_stands_for_one_pod() {
        let pod = |annotations: serde_json::Value| -> BoundPod {
            let metadata = json!({"name": "web-0", "namespace": "shop", "uid": "0123456789", "annotations": annotations});
            serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})).unwrap()
        };
        let asking = pod(json!({"knap.github.com/networks": "blue"}));
        let event = event(&asking).unwrap();
        assert_eq!(event.metadata.name.as_deref(), Some("web-0.01234567"));
        assert_eq!(event.regarding.unwrap().kind.as_deref(), Some("Pod"));
        assert!(event.note.unwrap().contains("shop/blue"));
        assert_eq!(super::event(&pod(json!({}))), None);
    }
}
