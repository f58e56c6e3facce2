//! What every store must do: one suite of tests, run on each store. A rule that only one of them keeps is a bug.
//!
//! Every case works under names and a label of its own, so that a store may hold other objects meanwhile.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    reason = "test code, outside cfg(test) only so that the cluster's tier can run it too"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{Stream, StreamExt};
use knap_api::{
    Holder, LeaseNetwork, Network, NetworkLease, NetworkLeaseSpec, NetworkSpec, Reservation, ReservationSpec,
    ReservationStatus, ReservedFor,
};
use kube::ResourceExt;

use super::{Kind, Labels, ObjectName, Preconditions, Store, StoreError, WatchEvent};

/// Runs every case on what `$open` (an async block that makes a store and something to keep alive) gives.
#[macro_export]
macro_rules! store_suite {
    ($open:expr) => {
        $crate::store_suite!($open;
            one_of_many_creators_wins, a_created_object_has_an_identity, a_name_that_kubernetes_refuses_is_refused,
            an_update_needs_what_was_read, generations_count_specs, no_concurrent_update_is_lost,
            a_status_is_written_alone, a_delete_keeps_its_preconditions, a_finalizer_holds_an_object,
            lists_follow_labels, a_watch_begins_with_all_there_is, a_watch_tells_changes_in_order,
            a_slow_watch_loses_nothing, a_position_is_between_what_was_and_what_comes,
        );
    };
    ($open:expr; $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (store, _keep) = $open.await;
                $crate::store::suite::$case(store).await;
            }
        )+
    };
}

const SUITE_LABEL: &str = "knap.github.com/suite";
const PATIENCE: Duration = Duration::from_secs(60);

/// Names and labels of one case.
struct Case(String);

impl Case {
    fn new() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    fn label(&self) -> Labels {
        [(SUITE_LABEL.to_owned(), Some(self.0.clone()))].into()
    }

    fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.0)
    }

    fn lease(&self, name: &str) -> NetworkLease {
        let network = LeaseNetwork { namespace: "shop".into(), name: "blue".into(), uid: "u-1".into() };
        let holder = Holder {
            attempt: name.to_owned(),
            node: "n1".into(),
            boot_id: "b1".into(),
            container_id: "c1".into(),
            ifname: "net1".into(),
            pod: None,
        };
        let spec = NetworkLeaseSpec {
            network,
            slot: 5,
            addresses: vec!["10.64.7.5/24".into()],
            mac: None,
            claim: None,
            holders: vec![holder],
        };
        self.labelled(NetworkLease::new(&self.name(name), spec))
    }

    fn reservation(&self, name: &str) -> Reservation {
        let network = ReservedFor { namespace: "shop".into(), name: "blue".into(), uid: "u-1".into() };
        let spec = ReservationSpec { network, cidr: None, scope: None, routed: false, lease: None };
        self.labelled(Reservation::new(&self.name(name), spec))
    }

    fn network(&self, name: &str) -> Network {
        let mut network = Network::new(&self.name(name), NetworkSpec::default());
        network.metadata.namespace = Some("default".into());
        self.labelled(network)
    }

    fn labelled<K: Kind>(&self, mut object: K) -> K {
        object.meta_mut().labels = Some([(SUITE_LABEL.to_owned(), self.0.clone())].into());
        object
    }

    fn holds<K: Kind>(&self, object: &K) -> bool {
        object.labels().get(SUITE_LABEL) == Some(&self.0)
    }
}

pub async fn one_of_many_creators_wins<S: Store>(store: S) {
    let case = Case::new();
    let tasks = (0..64).map(|task| {
        let (store, mut lease) = (store.clone(), case.lease("contended"));
        lease.spec.holders[0].attempt = format!("a-{task}");
        tokio::spawn(async move { store.create(&lease).await })
    });
    let mut winners = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(lease) => winners.push(lease),
            Err(StoreError::AlreadyExists { name, .. }) => assert_eq!(name.name, case.name("contended")),
            Err(error) => panic!("neither won nor lost: {error:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let stored = store.get::<NetworkLease>(&ObjectName::of(&winners[0])).await.unwrap().unwrap();
    assert_eq!(stored, winners[0]);
}

pub async fn a_created_object_has_an_identity<S: Store>(store: S) {
    let case = Case::new();
    let mut wanted = case.reservation("new");
    wanted.status = Some(ReservationStatus { verified: true, draining: false });
    let created = store.create(&wanted).await.unwrap();
    let meta = &created.metadata;
    assert!(meta.uid.as_deref().is_some_and(|uid| uid.len() == 36), "{meta:?}");
    assert!(meta.resource_version.is_some() && meta.creation_timestamp.is_some(), "{meta:?}");
    assert_eq!(meta.generation, Some(1));
    assert_eq!(created.status, None, "a status is written by update_status alone");
    let read = store.get::<Reservation>(&ObjectName::of(&created)).await.unwrap().unwrap();
    assert_eq!(read.metadata.uid, meta.uid);
    assert_eq!(read.metadata.resource_version, meta.resource_version);
    assert_eq!(store.get::<Reservation>(&ObjectName::cluster(case.name("absent"))).await.unwrap(), None);
}

pub async fn a_name_that_kubernetes_refuses_is_refused<S: Store>(store: S) {
    let case = Case::new();
    for name in ["Upper", "under_score", "-dash"] {
        let refused = store.create(&case.reservation(name)).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{name}: {refused:?}");
    }
}

pub async fn an_update_needs_what_was_read<S: Store>(store: S) {
    let case = Case::new();
    let created = store.create(&case.lease("changing")).await.unwrap();
    let mut newer = created.clone();
    newer.spec.slot = 6;
    let newer = store.update(&newer).await.unwrap();
    assert_eq!(newer.spec.slot, 6);
    assert_ne!(newer.metadata.resource_version, created.metadata.resource_version);

    let mut stale = created.clone();
    stale.spec.slot = 7;
    assert!(matches!(store.update(&stale).await, Err(StoreError::Changed { .. })));
    let mut other = newer.clone();
    other.metadata.uid = Some(uuid::Uuid::new_v4().to_string());
    assert!(matches!(store.update(&other).await, Err(StoreError::Changed { .. })));
    let mut blind = newer.clone();
    blind.metadata.resource_version = None;
    assert!(matches!(store.update(&blind).await, Err(StoreError::Refused { .. })));
    store.delete::<NetworkLease>(&ObjectName::of(&newer), &Preconditions::default()).await.unwrap();
    assert!(matches!(store.update(&newer).await, Err(StoreError::NotFound { .. })));
}

pub async fn generations_count_specs<S: Store>(store: S) {
    let case = Case::new();
    let created = store.create(&case.network("counted")).await.unwrap();
    let same = store.update(&created).await.unwrap();
    assert_eq!(same.metadata.resource_version, created.metadata.resource_version, "nothing was changed");
    let mut annotated = created.clone();
    annotated.annotations_mut().insert("note".into(), "x".into());
    let annotated = store.update(&annotated).await.unwrap();
    assert_eq!(annotated.metadata.generation, Some(1));
    let mut changed = annotated.clone();
    changed.spec.provider = Some("macvlan".into());
    changed.metadata.generation = Some(99);
    changed.metadata.creation_timestamp = None;
    let changed = store.update(&changed).await.unwrap();
    assert_eq!(changed.metadata.generation, Some(2));
    assert_eq!(changed.metadata.creation_timestamp, created.metadata.creation_timestamp);
    assert_eq!(changed.metadata.uid, created.metadata.uid);
}

pub async fn no_concurrent_update_is_lost<S: Store>(store: S) {
    const TASKS: u32 = 16;
    let case = Case::new();
    let mut lease = case.lease("counter");
    lease.spec.slot = 0;
    let name = ObjectName::of(&store.create(&lease).await.unwrap());
    let tasks = (0..TASKS).map(|_| {
        let (store, name) = (store.clone(), name.clone());
        tokio::spawn(async move {
            loop {
                let mut lease = store.get::<NetworkLease>(&name).await.unwrap().unwrap();
                lease.spec.slot += 1;
                match store.update(&lease).await {
                    Ok(_) => return,
                    Err(StoreError::Changed { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(store.get::<NetworkLease>(&name).await.unwrap().unwrap().spec.slot, TASKS);
}

pub async fn a_status_is_written_alone<S: Store>(store: S) {
    let case = Case::new();
    let created = store.create(&case.reservation("verified")).await.unwrap();
    let mut verified = created.clone();
    verified.status = Some(ReservationStatus { verified: true, draining: false });
    verified.spec.routed = true;
    let verified = store.update_status(&verified).await.unwrap();
    assert_eq!(verified.status, Some(ReservationStatus { verified: true, draining: false }));
    assert!(!verified.spec.routed, "only the status is taken");
    assert_eq!(verified.metadata.generation, Some(1));

    let mut stale = created.clone();
    stale.status = Some(ReservationStatus { verified: true, draining: true });
    assert!(matches!(store.update_status(&stale).await, Err(StoreError::Changed { .. })));
    let mut spec = verified.clone();
    spec.spec.routed = true;
    spec.status = None;
    let spec = store.update(&spec).await.unwrap();
    assert!(spec.spec.routed);
    assert_eq!(spec.status, verified.status, "an update leaves the status alone");
}

pub async fn a_delete_keeps_its_preconditions<S: Store>(store: S) {
    let case = Case::new();
    let created = store.create(&case.lease("condemned")).await.unwrap();
    let name = ObjectName::of(&created);
    let mut newer = created.clone();
    newer.spec.slot = 6;
    let newer = store.update(&newer).await.unwrap();

    let other = Preconditions { uid: Some(uuid::Uuid::new_v4().to_string()), resource_version: None };
    assert!(matches!(store.delete::<NetworkLease>(&name, &other).await, Err(StoreError::Changed { .. })));
    let stale = Preconditions::unchanged(&created);
    assert!(matches!(store.delete::<NetworkLease>(&name, &stale).await, Err(StoreError::Changed { .. })));
    assert_eq!(store.get::<NetworkLease>(&name).await.unwrap().as_ref(), Some(&newer));

    store.delete::<NetworkLease>(&name, &Preconditions::unchanged(&newer)).await.unwrap();
    assert_eq!(store.get::<NetworkLease>(&name).await.unwrap(), None);
    let again = store.delete::<NetworkLease>(&name, &Preconditions::default()).await;
    assert!(matches!(again, Err(StoreError::NotFound { .. })));

    let anew = store.create(&case.lease("condemned")).await.unwrap();
    assert_ne!(anew.metadata.uid, created.metadata.uid);
    let old = Preconditions { uid: created.metadata.uid, resource_version: None };
    assert!(matches!(store.delete::<NetworkLease>(&name, &old).await, Err(StoreError::Changed { .. })));
}

pub async fn a_finalizer_holds_an_object<S: Store>(store: S) {
    let case = Case::new();
    let mut network = case.network("held");
    network.metadata.finalizers = Some(vec!["knap.github.com/suite".into()]);
    let name = ObjectName::of(&store.create(&network).await.unwrap());
    for _ in 0..2 {
        store.delete::<Network>(&name, &Preconditions::default()).await.unwrap();
    }
    let mut held = store.get::<Network>(&name).await.unwrap().expect("still held");
    assert!(held.metadata.deletion_timestamp.is_some());
    assert!(matches!(store.create(&network).await, Err(StoreError::AlreadyExists { .. })));
    held.metadata.finalizers = None;
    store.update(&held).await.unwrap();
    assert_eq!(store.get::<Network>(&name).await.unwrap(), None);
}

pub async fn lists_follow_labels<S: Store>(store: S) {
    let case = Case::new();
    let holder = format!("knap.github.com/h-{}", &case.0[..16]);
    for index in 0..5 {
        let mut lease = case.lease(&format!("listed-{index}"));
        if index % 2 == 0 {
            lease.labels_mut().insert(holder.clone(), String::new());
        }
        store.create(&lease).await.unwrap();
    }
    let by_holder = || [(holder.clone(), None)].into();
    assert_eq!(names::<S, NetworkLease>(&store, &case.label()).await.len(), 5);
    let expected: Vec<String> = [0, 2, 4].iter().map(|index| case.name(&format!("listed-{index}"))).collect();
    assert_eq!(names::<S, NetworkLease>(&store, &by_holder()).await, expected);
    let both: Labels = by_holder().into_iter().chain(case.label()).collect();
    assert_eq!(names::<S, NetworkLease>(&store, &both).await, expected);
    assert!(names::<S, Reservation>(&store, &case.label()).await.is_empty(), "kinds are apart");

    let first = ObjectName::cluster(&expected[0]);
    let mut moved = store.get::<NetworkLease>(&first).await.unwrap().unwrap();
    moved.labels_mut().remove(&holder);
    store.update(&moved).await.unwrap();
    store
        .delete::<NetworkLease>(&ObjectName::cluster(&expected[1]), &Preconditions::default())
        .await
        .unwrap();
    assert_eq!(names::<S, NetworkLease>(&store, &by_holder()).await, expected[2..]);
    let nobody: Labels = [(SUITE_LABEL.to_owned(), Some("nobody".to_owned()))].into();
    assert!(names::<S, NetworkLease>(&store, &nobody).await.is_empty());
}

pub async fn a_watch_begins_with_all_there_is<S: Store>(store: S) {
    const COUNT: usize = 700;
    let case = Case::new();
    let leases: Vec<_> = (0..COUNT).map(|index| case.lease(&format!("old-{index}"))).collect();
    let created = futures::stream::iter(leases.iter().map(|lease| store.create(lease)));
    created.buffer_unordered(64).for_each(async |created| drop(created.unwrap())).await;
    let mut watch = store.watch::<NetworkLease>();
    assert!(matches!(event(&mut watch).await, WatchEvent::Restarted));
    let mut existing = 0;
    loop {
        match event(&mut watch).await {
            WatchEvent::Existing(lease) => existing += usize::from(case.holds(&lease)),
            WatchEvent::Current => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(existing, COUNT);
}

pub async fn a_watch_tells_changes_in_order<S: Store>(store: S) {
    let case = Case::new();
    let mut watch = store.watch::<NetworkLease>();
    while !matches!(event(&mut watch).await, WatchEvent::Current) {}
    let mut lease = store.create(&case.lease("watched")).await.unwrap();
    store.create(&case.reservation("unwatched")).await.unwrap();
    for slot in 6..10 {
        lease.spec.slot = slot;
        lease = store.update(&lease).await.unwrap();
    }
    store.delete::<NetworkLease>(&ObjectName::of(&lease), &Preconditions::default()).await.unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&("deleted", 9)) {
        match event(&mut watch).await {
            WatchEvent::Applied(lease) if case.holds(&lease) => told.push(("applied", lease.spec.slot)),
            WatchEvent::Deleted(lease) if case.holds(&lease) => told.push(("deleted", lease.spec.slot)),
            _ => {}
        }
    }
    let applied = (5..10).map(|slot| ("applied", slot));
    assert_eq!(told, applied.chain([("deleted", 9)]).collect::<Vec<_>>());
}

pub async fn a_position_is_between_what_was_and_what_comes<S: Store>(store: S) {
    let case = Case::new();
    let version = |lease: &NetworkLease| lease.resource_version().unwrap().parse::<u64>().unwrap();
    let before = store.create(&case.lease("before")).await.unwrap();
    let position = store.position::<NetworkLease>().await.unwrap();
    let after = store.create(&case.lease("after")).await.unwrap();
    assert!(version(&before) <= position && position < version(&after), "{before:?} {position} {after:?}");
    let mut watch = store.watch::<NetworkLease>();
    while !matches!(event(&mut watch).await, WatchEvent::Current) {}
    store.delete::<NetworkLease>(&ObjectName::of(&after), &Preconditions::default()).await.unwrap();
    let gone = loop {
        match event(&mut watch).await {
            WatchEvent::Deleted(lease) if case.holds(&lease) => break lease,
            _ => {}
        }
    };
    assert!(version(&gone) > version(&after), "a deletion is told as of its own moment: {gone:?}");
}

pub async fn a_slow_watch_loses_nothing<S: Store>(store: S) {
    const COUNT: usize = 6000;
    let case = Case::new();
    let mut watch = store.watch::<NetworkLease>();
    while !matches!(event(&mut watch).await, WatchEvent::Current) {}
    let writes = (0..COUNT).map(|index| {
        let (store, lease) = (&store, case.lease(&format!("burst-{index}")));
        async move {
            let created = store.create(&lease).await.unwrap();
            if index % 3 == 0 {
                let name = ObjectName::of(&created);
                store.delete::<NetworkLease>(&name, &Preconditions::default()).await.unwrap();
            }
        }
    });
    futures::stream::iter(writes).buffer_unordered(256).collect::<Vec<_>>().await;
    let end = store.create(&case.lease("end")).await.unwrap();

    let mut seen = BTreeMap::new();
    while !seen.contains_key(&end.name_any()) {
        match event(&mut watch).await {
            WatchEvent::Restarted => seen.clear(),
            WatchEvent::Existing(lease) | WatchEvent::Applied(lease) if case.holds(&lease) => {
                seen.insert(lease.name_any(), lease);
            }
            WatchEvent::Deleted(lease) => {
                seen.remove(&lease.name_any());
            }
            _ => {}
        }
    }
    // The end may have come as part of a new beginning, with the rest of it still to be told.
    while seen.len() < COUNT - COUNT / 3 + 1 {
        if let WatchEvent::Existing(lease) | WatchEvent::Applied(lease) = event(&mut watch).await
            && case.holds(&lease)
        {
            seen.insert(lease.name_any(), lease);
        }
    }
    let listed = names::<S, NetworkLease>(&store, &case.label()).await;
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), listed);
}

/// Not part of the macro: only a store that can be closed has it to show.
pub async fn what_was_answered_outlives_the_process<S: Store>(open: impl AsyncFn() -> S) {
    let case = Case::new();
    let store = open().await;
    let kept = store.create(&case.lease("kept")).await.unwrap();
    let gone = store.create(&case.lease("gone")).await.unwrap();
    store.delete::<NetworkLease>(&ObjectName::of(&gone), &Preconditions::default()).await.unwrap();
    drop(store);
    let store = open().await;
    assert_eq!(store.list::<NetworkLease>(&case.label()).await.unwrap(), std::slice::from_ref(&kept));
    assert!(matches!(store.create(&case.lease("kept")).await, Err(StoreError::AlreadyExists { .. })));
    let later = store.create(&case.lease("later")).await.unwrap();
    let version = |lease: &NetworkLease| lease.resource_version().unwrap().parse::<u64>().unwrap();
    assert!(version(&later) > version(&gone), "versions never repeat");
}

async fn names<S: Store, K: Kind>(store: &S, labels: &Labels) -> Vec<String> {
    let mut names: Vec<_> =
        store.list::<K>(labels).await.unwrap().iter().map(ResourceExt::name_any).collect();
    names.sort();
    names
}

async fn event<K>(watch: &mut (impl Stream<Item = WatchEvent<K>> + Unpin)) -> WatchEvent<K> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event in time").expect("a watch never ends")
}
