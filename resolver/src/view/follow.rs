//! One task per kind feeds the view from the store's watch.

use std::sync::Arc;

use futures::StreamExt;
use knap_api::{NetworkLease, Reservation};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use super::table::{Fed, Feed};
use super::{Change, Table, View, labels_of_namespace, labels_of_node};
use crate::store::{Kind, ObjectName, Store, WatchEvent};

/// Follows every kind.
pub(super) fn all<S: Store>(store: &S, view: &Arc<View>, changes: UnboundedSender<Change>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(table(
        store.clone(),
        Arc::clone(view),
        changes.clone(),
        TableOf {
            table: |view| &view.networks,
            keep: |network| network,
            changed: |name, _, gone| if gone { Change::NetworkGone } else { Change::Network(name) },
        },
    ));
    tasks.spawn(table(
        store.clone(),
        Arc::clone(view),
        changes.clone(),
        TableOf { table: |view| &view.classes, keep: |class| class, changed: |_, _, _| Change::Everything },
    ));
    tasks.spawn(table(
        store.clone(),
        Arc::clone(view),
        changes.clone(),
        TableOf {
            table: |view| &view.reservations,
            keep: |reservation| reservation,
            changed: |_, reservation, gone| {
                let owner = owner_of(reservation);
                if gone { Change::ReservationGone(owner) } else { Change::Reservation(owner) }
            },
        },
    ));
    tasks.spawn(table(
        store.clone(),
        Arc::clone(view),
        changes.clone(),
        TableOf {
            table: |view| &view.namespaces,
            keep: labels_of_namespace,
            changed: |_, _, _| Change::Everything,
        },
    ));
    // A Node's labels matter when an attachment is made there, and to no controller.
    let (nobody, _) = tokio::sync::mpsc::unbounded_channel();
    tasks.spawn(table(
        store.clone(),
        Arc::clone(view),
        nobody,
        TableOf { table: |view| &view.nodes, keep: labels_of_node, changed: |_, _, _| Change::Everything },
    ));
    tasks.spawn(leases(store.clone(), Arc::clone(view), changes));
    tasks
}

/// How one kind is kept.
struct TableOf<K, V> {
    table: fn(&View) -> &Table<V>,
    keep: fn(K) -> V,
    /// What a new or changed object (or one that is gone, if true) means.
    changed: fn(ObjectName, &V, bool) -> Change,
}

async fn table<S: Store, K: Kind, V: Send + Sync + 'static>(
    store: S,
    view: Arc<View>,
    changes: UnboundedSender<Change>,
    of: TableOf<K, V>,
) {
    let mut events = store.watch::<K>();
    let mut feed = Feed::new((of.table)(&view), of.keep);
    let mut told = false;
    while let Some(event) = events.next().await {
        let change = match feed.take(event) {
            Fed::Nothing => continue,
            Fed::Applied(name, value) => (of.changed)(name, &value, false),
            Fed::Deleted(name, value) => (of.changed)(name, &value, true),
            Fed::Current => {
                count_once(&view, &mut told);
                Change::Everything
            }
        };
        // Nobody listens where no controller runs.
        let _ = changes.send(change);
    }
}

async fn leases<S: Store>(store: S, view: Arc<View>, changes: UnboundedSender<Change>) {
    let mut events = store.watch::<NetworkLease>();
    let mut told = false;
    while let Some(event) = events.next().await {
        match event {
            WatchEvent::Restarted => view.leases.restart(),
            WatchEvent::Existing(lease) => view.leases.gather(&lease),
            WatchEvent::Applied(lease) => view.leases.insert(&lease),
            WatchEvent::Current => {
                view.leases.complete();
                count_once(&view, &mut told);
                let _ = changes.send(Change::Everything);
            }
            WatchEvent::Deleted(lease) => {
                if view.leases.remove(&lease) {
                    let _ = changes.send(Change::Drained(lease.spec.network.uid));
                }
            }
        }
    }
}

fn count_once(view: &View, told: &mut bool) {
    if !std::mem::replace(told, true) {
        view.complete.send_modify(|complete| *complete += 1);
    }
}

fn owner_of(reservation: &Reservation) -> ObjectName {
    let owner = &reservation.spec.network;
    ObjectName::namespaced(&owner.namespace, &owner.name)
}
