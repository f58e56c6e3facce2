//! What the resolver knows without asking: a picture of the store, fed by watches. It may be old; it proposes, and the
//! store disposes.

mod cluster_networks;
mod follow;
mod holder;
mod leases;
mod names;
mod network_slots;
mod node;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use knap_api::{Network, NetworkClass, NodeInventory, Reservation};
use knap_core::{ClusterNetwork, ClusterNetworks};
use knap_protocol::NetworkName;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::store::{Kind, ObjectName, Store, StoreError};
use cluster_networks::KnownNetworks;

pub use holder::HolderHash;
pub(crate) use holder::{attempt_hash, first_candidate, fnv1a, next_candidate};
pub use leases::{LeaseIndex, LeaseRef};
pub use node::KnownNode;
pub use table::Table;

/// Labels of an object.
pub type LabelMap = BTreeMap<String, String>;

/// The picture. One for the whole process; every table is read and fed on its own.
#[derive(Debug)]
pub struct View {
    /// Networks by namespace and name.
    pub networks: Table<Network>,
    /// Classes by name.
    pub classes: Table<NetworkClass>,
    /// Reservations by name.
    pub reservations: Table<Reservation>,
    /// All leases.
    pub leases: LeaseIndex,
    /// Nodes by name, as Kubernetes or a manifest has them.
    pub nodes: Table<KnownNode>,
    /// Nodes by name, as they attach.
    pub inventories: Table<NodeInventory>,
    namespaces: Table<LabelMap>,
    cluster_networks: KnownNetworks,
    /// Kinds that have not been told in full yet, by their plural.
    untold: watch::Sender<BTreeSet<String>>,
    /// Who acts on changes.
    listeners: Mutex<Vec<mpsc::UnboundedSender<Change>>>,
}

/// Something that a controller may have to act on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// This Network is new or changed.
    Network(ObjectName),
    /// A Network is gone.
    NetworkGone,
    /// Classes or namespaces changed, or much at once: every Network may be concerned.
    Everything,
    /// A Reservation of this Network is new or changed.
    Reservation(ObjectName),
    /// A Reservation is gone: who waited for what it held may go on. Its Network.
    ReservationGone(ObjectName),
    /// The last lease of the Network with this UID is gone.
    Drained(String),
    /// A Node or its inventory is new, changed or gone.
    Node(String),
}

impl View {
    /// Begins to follow a store. The tasks end with the returned set.
    pub fn follow<S: Store>(store: &S) -> (Arc<Self>, tokio::task::JoinSet<()>) {
        let view = Arc::new(Self {
            networks: Table::default(),
            classes: Table::default(),
            reservations: Table::default(),
            leases: LeaseIndex::default(),
            nodes: Table::default(),
            inventories: Table::default(),
            namespaces: Table::default(),
            cluster_networks: KnownNetworks::default(),
            untold: watch::Sender::new(follow::kinds()),
            listeners: Mutex::default(),
        });
        let tasks = follow::all(store, &view);
        (view, tasks)
    }

    /// Whether every kind has been told in full once.
    pub fn is_current(&self) -> bool {
        self.untold.borrow().is_empty()
    }

    /// Kinds that have not been told in full yet, by their plural.
    pub fn untold(&self) -> Vec<String> {
        self.untold.borrow().iter().cloned().collect()
    }

    /// All changes from now on. What there is already has to be looked at once, after this.
    pub fn changes(&self) -> mpsc::UnboundedReceiver<Change> {
        let (listener, changes) = mpsc::unbounded_channel();
        self.listeners.lock().push(listener);
        changes
    }

    /// Tells a change to all who listen.
    pub(crate) fn tell(&self, change: &Change) {
        self.listeners.lock().retain(|listener| listener.send(change.clone()).is_ok());
    }

    /// Waits until every kind has been told in full once.
    pub async fn current(&self) {
        let mut untold = self.untold.subscribe();
        // The sender lives as long as `self`: the wait can't fail.
        let _ = untold.wait_for(BTreeSet::is_empty).await;
    }

    /// A Network by name.
    pub fn network(&self, name: &NetworkName) -> Option<Arc<Network>> {
        self.networks.get(&ObjectName::namespaced(name.namespace(), name.name()))
    }

    /// Labels of a namespace. None where no namespace is known at all: then nothing is filtered by label. One that is not
    /// known among others may be new: it is read, since a selector may ask for what it does not have.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn namespace_labels<S: Store>(
        &self,
        store: &S,
        name: &str,
    ) -> Result<Option<Arc<LabelMap>>, StoreError> {
        among(&self.namespaces, store, name, |namespace| Arc::new(labels_of_namespace(namespace))).await
    }

    /// Namespaces that carry a label with this value, with all their labels.
    pub fn namespaces_labelled(&self, key: &str, value: &str) -> Vec<(String, Arc<LabelMap>)> {
        self.namespaces.select(|name, labels| {
            let carries = labels.get(key).is_some_and(|found| found == value);
            carries.then(|| (name.name.clone(), Arc::clone(labels)))
        })
    }

    /// Labels of a node, by the same rule.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn node_labels<S: Store>(
        &self,
        store: &S,
        name: &str,
    ) -> Result<Option<Arc<LabelMap>>, StoreError> {
        let node = among(&self.nodes, store, name, |node| Arc::new(KnownNode::of(node))).await?;
        Ok(node.map(|node| Arc::clone(&node.labels)))
    }

    /// A node, as last told.
    pub fn node(&self, name: &str) -> Option<Arc<KnownNode>> {
        self.nodes.get(&ObjectName::cluster(name))
    }

    /// The labels of all nodes, sorted by the nodes' names.
    pub fn nodes(&self) -> Vec<(String, LabelMap)> {
        let all = self.nodes.entries().into_iter();
        let mut nodes: Vec<_> = all.map(|(name, node)| (name.name, LabelMap::clone(&node.labels))).collect();
        nodes.sort();
        nodes
    }

    /// The networks that the cluster itself uses, as far as they are known.
    pub fn cluster_networks(&self) -> Arc<ClusterNetworks> {
        self.cluster_networks.all()
    }

    /// Whether all have said which networks the cluster itself uses. Until then no Network may get a subnet: it could be one of
    /// those.
    pub fn knows_cluster_networks(&self) -> bool {
        self.cluster_networks.is_complete()
    }

    /// Has this wait for what `who` will say of the cluster's own networks.
    pub fn await_cluster_networks(&self, who: &'static str) {
        self.cluster_networks.await_word(who);
    }

    /// Waits no longer for what `who` would say: what is known has to do.
    pub fn go_on_without_cluster_networks(&self, who: &'static str) {
        if self.cluster_networks.go_on(who) {
            self.tell(&Change::Everything);
        }
    }

    /// Learns of networks that the cluster itself uses; what `who` has said before is forgotten.
    pub fn learn_cluster_networks(&self, who: &'static str, networks: Vec<ClusterNetwork>) {
        let is_new = self.cluster_networks.replace(who, networks);
        if self.cluster_networks.go_on(who) || is_new {
            self.tell(&Change::Everything);
        }
    }
}

/// What is kept of an object, read where others of its kind are known and it is not; empty if there is none.
async fn among<K: Kind, V: Default, S: Store>(
    table: &Table<V>,
    store: &S,
    name: &str,
    keep: impl Fn(K) -> Arc<V>,
) -> Result<Option<Arc<V>>, StoreError> {
    let name = ObjectName::cluster(name);
    match table.get(&name) {
        Some(known) => Ok(Some(known)),
        None if table.is_empty() => Ok(None),
        None => Ok(Some(store.get::<K>(&name).await?.map(keep).unwrap_or_default())),
    }
}

/// All that is kept of a Namespace: a cluster has many.
fn labels_of_namespace(namespace: Namespace) -> LabelMap {
    namespace.metadata.labels.unwrap_or_default()
}
