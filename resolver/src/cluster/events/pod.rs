//! Events on pods: why an attachment failed, where whoever waits for the pod looks.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use knap_api::{GROUP, VERSION};
use knap_protocol::ProblemKind;
use ring::digest::{Context, SHA256};

use super::{note, warning};
use crate::attach::FailedAttachment;
use crate::store::kubernetes::KubernetesStore;
use crate::store::{ObjectName, Store, StoreError};

/// Annotation of an Event: the latest decision that it stands for. Its note, which can't be changed, names the first.
const DECISION_ANNOTATION: &str = "knap.github.com/decision";
/// Bytes of a pod's name in the Event's, which has 253.
const POD_NAME: usize = 230;

/// What there is to be written: how often it has failed, the last time of all for this.
#[derive(Debug, Clone)]
pub(super) struct Failures {
    pub(super) last: FailedAttachment,
    pub(super) when: Timestamp,
    pub(super) count: u32,
}

/// Writes it. One Event stands for all failures of a pod on a Network with the same words, whichever replica they were at.
pub(super) async fn write(store: &KubernetesStore, failures: &Failures) -> Result<(), StoreError> {
    let event = event(failures);
    match store.create(&event).await {
        Err(StoreError::AlreadyExists { .. }) => {}
        written => return written.map(drop),
    }
    let there = store.get::<Event>(&ObjectName::of(&event)).await?;
    // It may have run out just now: then it is told the next time.
    let Some(mut there) = there else { return Ok(()) };
    there.series = Some(series(failures, counted(&there)));
    there.metadata.annotations.get_or_insert_default().extend(event.metadata.annotations.unwrap_or_default());
    store.update(&there).await.map(drop)
}

/// How often it has happened, by an Event.
fn counted(event: &Event) -> i32 {
    event.series.as_ref().map_or(1, |series| series.count)
}

fn series(failures: &Failures, before: i32) -> EventSeries {
    let more = i32::try_from(failures.count).unwrap_or(i32::MAX);
    EventSeries { count: before.saturating_add(more), last_observed_time: MicroTime(failures.when) }
}

fn event(failures: &Failures) -> Event {
    let FailedAttachment { id, node, network, pod, kind, text } = &failures.last;
    let said = format!("can't attach to Network {network} on node {node}: {text}");
    let regarding = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: pod.uid.clone(),
        ..ObjectReference::default()
    };
    let related = ObjectReference {
        api_version: Some(format!("{GROUP}/{VERSION}")),
        kind: Some("Network".to_owned()),
        namespace: Some(network.namespace().to_owned()),
        name: Some(network.name().to_owned()),
        ..ObjectReference::default()
    };
    Event {
        metadata: ObjectMeta {
            name: Some(name(&failures.last)),
            namespace: Some(pod.namespace.clone()),
            annotations: Some(BTreeMap::from([(DECISION_ANNOTATION.to_owned(), id.clone())])),
            ..ObjectMeta::default()
        },
        note: Some(note(said, &format!(" (decision {id})"))),
        regarding: Some(regarding),
        related: Some(related),
        series: (failures.count > 1).then(|| series(failures, 0)),
        ..warning("Attach", reason(*kind), failures.when)
    }
}

/// The same on every replica, for the same failure of the same pod.
fn name(failed: &FailedAttachment) -> String {
    let mut hash = Context::new(&SHA256);
    let network = failed.network.to_string();
    let uid = failed.pod.uid.as_deref().unwrap_or_default();
    for part in [uid, &network, failed.node.as_str(), failed.kind.name(), &failed.text] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    let hash: String = hash.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let pod: String = failed.pod.name.chars().take(POD_NAME).collect();
    format!("{}.{hash}", pod.trim_end_matches(['-', '.']))
}

/// As Kubernetes writes reasons.
pub(super) const fn reason(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Unauthorized | ProblemKind::Forbidden => "NotThisNodesPod",
        ProblemKind::NotPermitted => "NetworkNotPermitted",
        ProblemKind::UnknownNetwork => "UnknownNetwork",
        ProblemKind::NotReady => "NetworkNotReady",
        ProblemKind::Taken => "AlreadyTaken",
        ProblemKind::BadRequest | ProblemKind::Unprocessable => "InvalidAttachment",
        ProblemKind::OverQuota => "OverQuota",
        ProblemKind::Full => "NoFreeAddress",
        ProblemKind::Fenced => "BootFenced",
        ProblemKind::Unavailable => "AttachmentDelayed",
        ProblemKind::Internal => "AttachmentFailed",
    }
}

#[cfg(test)]
mod tests {
    use super::super::NOTE;
    use super::super::fixture::failed;
    use super::*;

    #[test]
    fn an_event_tells_what_failed_and_where_to_look_further() {
        let event =
            event(&Failures { last: failed("web-0", "it is full"), when: Timestamp::UNIX_EPOCH, count: 1 });
        let note = event.note.unwrap();
        assert_eq!(note, "can't attach to Network shop/blue on node n1: it is full (decision d-1)");
        let regarding = event.regarding.unwrap();
        assert_eq!((regarding.kind.as_deref(), regarding.uid.as_deref()), (Some("Pod"), Some("u-web-0")));
        assert_eq!(
            (event.reason.as_deref(), event.type_.as_deref()),
            (Some("NoFreeAddress"), Some("Warning"))
        );
        assert_eq!(event.series, None, "a series of one is none");
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
    }

    #[test]
    fn a_series_goes_on_where_another_replica_began_it() {
        let failures =
            Failures { last: failed("web-0", "it is full"), when: Timestamp::UNIX_EPOCH, count: 3 };
        assert_eq!(event(&failures).series.unwrap().count, 3);
        assert_eq!(series(&failures, counted(&Event::default())).count, 4);
        assert_eq!(series(&failures, counted(&event(&failures))).count, 6);
    }

    #[test]
    fn a_long_reason_does_not_cost_the_decision() {
        let long = failed("web-0", &"ü".repeat(NOTE));
        let event = event(&Failures { last: long, when: Timestamp::UNIX_EPOCH, count: 1 });
        let note = event.note.unwrap();
        assert!(note.len() <= NOTE && note.ends_with("... (decision d-1)"), "{note}");
    }

    #[test]
    fn what_differs_has_another_name() {
        let one = name(&failed("web-0", "it is full"));
        assert_eq!(one, name(&FailedAttachment { id: "d-2".to_owned(), ..failed("web-0", "it is full") }));
        assert_ne!(one, name(&failed("web-1", "it is full")));
        assert_ne!(one, name(&failed("web-0", "it is away")));
        let long = name(&failed(&format!("{}-{}", "a".repeat(229), "b".repeat(20)), ""));
        assert!(long.len() <= 253 && !long.contains("-."), "{long}");
    }
}
