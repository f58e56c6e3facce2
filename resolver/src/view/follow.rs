//! One task per kind feeds the view from the store's watch.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Node};
use knap_api::{Network, NetworkClass, NetworkLease, NodeInventory, Reservation};
use tokio::task::JoinSet;

use super::cluster_networks::NodeNetworks;
use super::table::{Fed, Feed};
use super::{Change, KnownNode, Table, View, labels_of_namespace};
use crate::store::{Kind, ObjectName, Store, WatchEvent};

/// The kinds that are followed, by their plural.
pub(super) fn kinds() -> BTreeSet<String> {
    [
        plural::<Network>(),
        plural::<NetworkClass>(),
        plural::<Reservation>(),
        plural::<NetworkLease>(),
        plural::<Namespace>(),
        plural::<Node>(),
        plural::<NodeInventory>(),
    ]
    .into()
}

/// Follows every kind.
pub(super) fn all<S: Store>(store: &S, view: &Arc<View>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let networks = TableOf {
        table: |view| &view.networks,
        keep: |network: Network| network,
        changed: |name, now, _| Some(if now.is_none() { Change::NetworkGone } else { Change::Network(name) }),
    };
    tasks.spawn(table(store.clone(), Arc::clone(view), networks));
    let classes = TableOf {
        table: |view| &view.classes,
        keep: |class: NetworkClass| class,
        changed: |_, _, _| Some(Change::Everything),
    };
    tasks.spawn(table(store.clone(), Arc::clone(view), classes));
    let reservations = TableOf {
        table: |view| &view.reservations,
        keep: |reservation: Reservation| reservation,
        changed: |_, now, before| {
            // What a lease has beside its slot concerns no Network.
            let owner = owner_of(now.or(before).filter(|reservation| reservation.spec.lease.is_none())?);
            Some(if now.is_none() { Change::ReservationGone(owner) } else { Change::Reservation(owner) })
        },
    };
    tasks.spawn(table(store.clone(), Arc::clone(view), reservations));
    let namespaces = TableOf {
        table: |view| &view.namespaces,
        keep: labels_of_namespace,
        changed: |_, now, before| (now != before).then_some(Change::Everything),
    };
    tasks.spawn(table(store.clone(), Arc::clone(view), namespaces));
    tasks.spawn(nodes(store.clone(), Arc::clone(view)));
    let inventories = TableOf {
        table: |view| &view.inventories,
        keep: |inventory: NodeInventory| inventory,
        changed: |name, _, _| Some(Change::Node(name.name)),
    };
    tasks.spawn(table(store.clone(), Arc::clone(view), inventories));
    tasks.spawn(leases(store.clone(), Arc::clone(view)));
    tasks
}

/// How one kind is kept.
struct TableOf<K, V> {
    table: fn(&View) -> &Table<V>,
    keep: fn(K) -> V,
    /// What it means to controllers that an object is so now, none if it is gone, and was so before, none if it is new.
    changed: fn(ObjectName, Option<&V>, Option<&V>) -> Option<Change>,
}

async fn table<S: Store, K: Kind, V: Send + Sync + 'static>(store: S, view: Arc<View>, of: TableOf<K, V>) {
    let mut events = store.watch::<K>();
    let mut feed = Feed::new((of.table)(&view), of.keep);
    while let Some(event) = events.next().await {
        let change = match feed.take(event) {
            Fed::Nothing => continue,
            Fed::Applied(name, now, before) => (of.changed)(name, Some(&now), before.as_deref()),
            Fed::Deleted(name, last) => (of.changed)(name, None, Some(&last)),
            Fed::Current => {
                told::<K>(&view);
                Some(Change::Everything)
            }
        };
        if let Some(change) = change {
            view.tell(&change);
        }
    }
}

/// A Node matters where attachments are made on it; its networks matter to all Networks.
async fn nodes<S: Store>(store: S, view: Arc<View>) {
    let mut events = store.watch::<Node>();
    let mut feed = Feed::new(&view.nodes, KnownNode::of);
    let mut networks = NodeNetworks::default();
    while let Some(event) = events.next().await {
        networks.take(&event);
        let fed = feed.take(event);
        if let Some(networks) = networks.news() {
            view.learn_cluster_networks("nodes", networks);
        }
        match fed {
            Fed::Nothing => {}
            Fed::Applied(name, ..) | Fed::Deleted(name, _) => view.tell(&Change::Node(name.name)),
            Fed::Current => {
                told::<Node>(&view);
                view.tell(&Change::Everything);
            }
        }
    }
}

async fn leases<S: Store>(store: S, view: Arc<View>) {
    let mut events = store.watch::<NetworkLease>();
    while let Some(event) = events.next().await {
        match event {
            WatchEvent::Restarted => view.leases.restart(),
            WatchEvent::Existing(lease) => view.leases.gather(&lease),
            WatchEvent::Applied(lease) => view.leases.tell(&lease),
            WatchEvent::Current => {
                view.leases.complete();
                told::<NetworkLease>(&view);
                view.tell(&Change::Everything);
            }
            WatchEvent::Deleted(lease) => {
                if view.leases.tell_gone(&lease) {
                    view.tell(&Change::Drained(lease.spec.network.uid));
                }
            }
        }
    }
}

/// All objects of a kind are known.
fn told<K: Kind>(view: &View) {
    view.untold.send_if_modified(|untold| untold.remove(&plural::<K>()));
}

fn plural<K: Kind>() -> String {
    K::plural(&()).into_owned()
}

fn owner_of(reservation: &Reservation) -> ObjectName {
    let owner = &reservation.spec.network;
    ObjectName::namespaced(&owner.namespace, &owner.name)
}
