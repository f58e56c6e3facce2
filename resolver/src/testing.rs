//! What this crate's tests share: a controller and any number of replicas over one store in memory.

mod troubled;

use std::sync::Arc;
use std::time::Duration;

use knap_api::{Network, NetworkClass, NetworkLease, NodeInventory, Reservation};
use knap_protocol::{AttachReply, AttachRequest, AttachmentKey, NetworkName, NodeName};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::attach::{Asker, Attacher, Refusal};
use crate::decision::DecisionId;
use crate::nodes::{self, Nodes};
use crate::provision::{Provisioner, Rules, condition, is_ready};
use crate::store::embedded::EmbeddedStore;
use crate::store::{Labels, ObjectName, Preconditions, Store, StoreError};
use crate::view::View;

pub(crate) use troubled::{Fate, Troubled};

/// One process that serves attachments.
pub(crate) struct Replica<S: Store> {
    pub(crate) view: Arc<View>,
    pub(crate) attacher: Arc<Attacher<S>>,
    _tasks: JoinSet<()>,
}

/// A store with a controller, and one replica.
pub(crate) struct World {
    pub(crate) store: EmbeddedStore,
    pub(crate) replica: Replica<EmbeddedStore>,
    controller: JoinSet<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::by(Rules::default()).await
    }

    /// One where these rules hold.
    pub(crate) async fn by(rules: Rules) -> Self {
        let store = EmbeddedStore::in_memory().unwrap();
        let controller = controller_by(&store, rules);
        let replica = Replica::over(&store).await;
        Self { store, replica, controller }
    }

    /// From now on no controller puts anything in order.
    pub(crate) async fn stop_controller(&mut self) {
        self.controller.shutdown().await;
    }

    /// Runs a controller of nodes by these rules, over what a view knows; it ends with the returned set.
    pub(crate) fn look_after_nodes(&self, view: &Arc<View>, rules: nodes::Rules) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let nodes = Nodes::new(self.store.clone(), Arc::clone(view), rules, nodes::Counters::default());
        tasks.spawn(nodes.run());
        tasks
    }

    /// Makes a class.
    pub(crate) async fn class(&self, name: &str, spec: Value) -> NetworkClass {
        self.store.create(&NetworkClass::new(name, from(spec))).await.unwrap()
    }

    /// Changes a class's spec, whatever it was.
    pub(crate) async fn edit_class(&self, name: &str, spec: Value) {
        let known: NetworkClass = self.store.get(&ObjectName::cluster(name)).await.unwrap().unwrap();
        self.store.update(&NetworkClass { spec: from(spec), ..known }).await.unwrap();
    }

    /// Makes a Network.
    pub(crate) async fn network(&self, name: &str, spec: Value) -> Network {
        let name: NetworkName = name.parse().unwrap();
        let mut network = Network::new(name.name(), from(spec));
        network.metadata.namespace = Some(name.namespace().to_owned());
        self.store.create(&network).await.unwrap()
    }

    /// Makes a Network, and waits until it is served.
    pub(crate) async fn ready_network(&self, name: &str, spec: Value) -> Network {
        self.network(name, spec).await;
        self.until_ready(name).await
    }

    /// Waits until a Network is served, by the replica too.
    pub(crate) async fn until_ready(&self, name: &str) -> Network {
        let seen = |network: &Network| is_ready(network);
        let network = self.until(name, "ready", seen).await;
        let name: NetworkName = name.parse().unwrap();
        let version = |network: &Network| network.metadata.resource_version.as_ref()?.parse::<u64>().ok();
        eventually("the replica sees it", || {
            self.replica.view.network(&name).is_some_and(|known| version(&known) >= version(&network))
        })
        .await;
        network
    }

    /// Waits until a Network is refused for this reason, and returns the condition's message.
    pub(crate) async fn refusal(&self, name: &str, reason: &str) -> String {
        let refused =
            |network: &Network| condition(network, "Ready").is_some_and(|ready| ready.reason == reason);
        let network = self.until(name, reason, refused).await;
        condition(&network, "Ready").unwrap().message.clone()
    }

    pub(crate) async fn until(&self, name: &str, what: &str, holds: impl Fn(&Network) -> bool) -> Network {
        for _ in 0..2000 {
            let network = self.get(name).await.unwrap_or_else(|| panic!("{name} is gone"));
            if holds(&network) && network.metadata.generation == observed(&network) {
                return network;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!(
            "{name} does not become {what}: {:?}",
            self.get(name).await.and_then(|network| network.status)
        );
    }

    pub(crate) async fn get(&self, name: &str) -> Option<Network> {
        let name: NetworkName = name.parse().unwrap();
        self.store.get(&ObjectName::namespaced(name.namespace(), name.name())).await.unwrap()
    }

    /// Changes a Network's spec.
    pub(crate) async fn edit(&self, name: &str, edit: impl Fn(&mut Network)) {
        loop {
            let mut network = self.get(name).await.unwrap();
            edit(&mut network);
            match self.store.update(&network).await {
                Ok(_) => return,
                Err(StoreError::Changed { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Removes a Network.
    pub(crate) async fn remove(&self, name: &str) {
        let name: NetworkName = name.parse().unwrap();
        let object = ObjectName::namespaced(name.namespace(), name.name());
        self.store.delete::<Network>(&object, &Preconditions::default()).await.unwrap();
        eventually("the replica sees that it is gone", || self.replica.view.network(&name).is_none()).await;
    }

    /// What is recorded of node n1.
    pub(crate) async fn inventory(&self) -> NodeInventory {
        self.store.get(&ObjectName::cluster("n1")).await.unwrap().expect("an inventory of node n1")
    }

    /// Changes what is recorded of node n1.
    pub(crate) async fn edit_inventory(&self, edit: impl Fn(&mut NodeInventory)) {
        loop {
            let mut inventory = self.inventory().await;
            edit(&mut inventory);
            match self.store.update(&inventory).await {
                Ok(_) => return,
                Err(StoreError::Changed { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until the replica knows node n1 as such.
    pub(crate) async fn known(&self, as_such: impl Fn(&NodeInventory) -> bool) {
        let known = || self.replica.view.inventories.get(&ObjectName::cluster("n1"));
        eventually("node n1 is known", || known().is_some_and(|known| as_such(&known))).await;
    }

    /// Waits until what is recorded of node n1 is such.
    pub(crate) async fn until_recorded(
        &self,
        what: &str,
        holds: impl Fn(&NodeInventory) -> bool,
    ) -> NodeInventory {
        for _ in 0..2000 {
            let inventory = self.inventory().await;
            if holds(&inventory) {
                return inventory;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not in time: {what}: {:#?}", self.inventory().await);
    }

    /// Waits until so many leases are left.
    pub(crate) async fn until_leases(&self, count: usize) {
        for _ in 0..2000 {
            if self.leases().await.len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not {count} leases: {:#?}", self.leases().await);
    }

    pub(crate) async fn leases(&self) -> Vec<NetworkLease> {
        self.store.list(&Labels::new()).await.unwrap()
    }

    pub(crate) async fn reservations(&self) -> Vec<Reservation> {
        self.store.list(&Labels::new()).await.unwrap()
    }

    /// Waits until there are so many Reservations.
    pub(crate) async fn until_reservations(&self, count: usize) {
        for _ in 0..2000 {
            if self.reservations().await.len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not {count} reservations: {:#?}", self.reservations().await);
    }

    pub(crate) async fn attach(&self, container: &str, request: Value) -> Result<AttachReply, Refusal> {
        self.replica.attach(container, request).await
    }

    pub(crate) async fn release(&self, container: &str, attempt: &str, leases: &[String]) {
        self.replica.release(container, attempt, leases).await.unwrap();
    }
}

/// A controller on a store; it ends with the returned set.
pub(crate) fn controller<S: Store>(store: &S) -> JoinSet<()> {
    controller_by(store, Rules::default())
}

fn controller_by<S: Store>(store: &S, rules: Rules) -> JoinSet<()> {
    let (view, mut tasks) = View::follow(store);
    let (first_pass, _) = oneshot::channel();
    let provisioner = Provisioner::new(store.clone(), Arc::clone(&view), rules);
    tasks.spawn(provisioner.run(first_pass));
    let nodes = Nodes::new(store.clone(), view, nodes::Rules::default(), nodes::Counters::default());
    tasks.spawn(nodes.run());
    tasks
}

impl<S: Store> Replica<S> {
    /// Another process on the same store.
    pub(crate) async fn over(store: &S) -> Self {
        let (view, tasks) = View::follow(store);
        view.current().await;
        let attacher = Arc::new(Attacher::new(store.clone(), Arc::clone(&view)));
        Self { view, attacher, _tasks: tasks }
    }

    pub(crate) async fn attach(&self, container: &str, request: Value) -> Result<AttachReply, Refusal> {
        attach(&self.attacher, container, request).await
    }

    pub(crate) async fn release(
        &self,
        container: &str,
        attempt: &str,
        leases: &[String],
    ) -> Result<(), Refusal> {
        let (node, key) = place(container);
        let asker = Asker { node: &node, key: &key };
        self.attacher.release(&DecisionId::next(), asker, &attempt.parse().unwrap(), leases).await
    }
}

/// Asks for an attachment on node n1; what the request leaves out is filled in.
pub(crate) async fn attach<S: Store>(
    attacher: &Attacher<S>,
    container: &str,
    request: Value,
) -> Result<AttachReply, Refusal> {
    attach_on(attacher, "n1", container, request).await
}

/// The same on any node.
pub(crate) async fn attach_on<S: Store>(
    attacher: &Attacher<S>,
    node: &str,
    container: &str,
    request: Value,
) -> Result<AttachReply, Refusal> {
    let (node, key) = (node.parse().unwrap(), place(container).1);
    let mut whole = json!({
        "network": "shop/blue", "bootID": "boot-1", "attempt": format!("try-{container}"), "deadlineSeconds": 20,
        "cniVersion": "1.0.0"
    });
    whole.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
    let request: AttachRequest = serde_json::from_value(whole).unwrap();
    attacher.attach(&DecisionId::next(), Asker { node: &node, key: &key }, &request).await
}

pub(crate) fn place(container: &str) -> (NodeName, AttachmentKey) {
    let key = AttachmentKey { container_id: container.parse().unwrap(), ifname: "net1".parse().unwrap() };
    ("n1".parse().unwrap(), key)
}

pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not in time: {what}");
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn observed(network: &Network) -> Option<i64> {
    network.status.as_ref().and_then(|status| status.observed_generation)
}
