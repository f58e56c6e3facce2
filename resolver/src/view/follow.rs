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
        changed: |name, _, gone| Some(if gone { Change::NetworkGone } else { Change::Network(name) }),
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
        changed: |_, reservation, gone| {
            let owner = owner_of(reservation);
            Some(if gone { Change::ReservationGone(owner) } else { Change::Reservation(owner) })
        },
    };
    tasks.spawn(table(store.clone(), Arc::clone(view), reservations));
    let namespaces = TableOf {
        table: |view| &view.namespaces,
        keep: labels_of_namespace,
        changed: |_, _, _| Some(Change::Everything),
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
    /// What a new or changed object (or one that is gone, if true) means to controllers.
    changed: fn(ObjectName, &V, bool) -> Option<Change>,
}

async fn table<S: Store, K: Kind, V: Send + Sync + 'static>(store: S, view: Arc<View>, of: TableOf<K, V>) {
    let mut events = store.watch::<K>();
    let mut feed = Feed::new((of.table)(&view), of.keep);
    while let Some(event) = events.next().await {
        let change = match feed.take(event) {
            Fed::Nothing => continue,
            Fed::Applied(name, value) => (of.changed)(name, &value, false),
            Fed::Deleted(name, value) => (of.changed)(name, &value, true),
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
            Fed::Applied(name, _) | Fed::Deleted(name, _) => view.tell(&Change::Node(name.name)),
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
            WatchEvent::Applied(lease) => {
                view.leases.insert(&lease);
                view.leases.note(&lease);
            }
            WatchEvent::Current => {
                view.leases.complete();
                told::<NetworkLease>(&view);
                view.tell(&Change::Everything);
            }
            WatchEvent::Deleted(lease) => {
                let drained = view.leases.remove(&lease);
                view.leases.note(&lease);
                if drained {
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
