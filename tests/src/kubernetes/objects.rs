//! Objects of a test on its Kubernetes API: made, changed, waited for.

use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Node};
use knap_api::{Network, NetworkClass, NetworkLease, NodeInventory, Reservation};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::KubernetesApi;
use crate::{GENEROUS, Host};

/// What a test does with objects, as a user who may do everything.
#[derive(Clone)]
pub struct Objects {
    /// For whatever is not here.
    pub client: Client,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl KubernetesApi {
    /// Its objects.
    pub async fn objects(&self) -> Objects {
        Objects { client: self.client().await }
    }
}

impl Objects {
    /// Makes a namespace.
    pub async fn namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let namespace = json!({ "metadata": { "name": name, "labels": labels } });
        let api = Api::<Namespace>::all(self.client.clone());
        api.create(&PostParams::default(), &from(namespace)).await.expect("a new namespace");
    }

    /// Sets and removes (by null) labels of a namespace.
    pub async fn label_namespace(&self, name: &str, labels: Value) {
        let api = Api::<Namespace>::all(self.client.clone());
        let patch = json!({ "metadata": { "labels": labels } });
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("a namespace to label");
    }

    /// Makes a class.
    pub async fn class(&self, name: &str, spec: Value) {
        let class = json!({ "metadata": { "name": name }, "spec": spec });
        let api = Api::<NetworkClass>::all(self.client.clone());
        api.create(&PostParams::default(), &from(class)).await.expect("a new class");
    }

    /// Makes a Network, `shop/blue`.
    pub async fn network(&self, network: &str, spec: Value) -> Network {
        let (namespace, name) = split(network);
        let object = json!({ "metadata": { "name": name, "namespace": namespace }, "spec": spec });
        self.in_namespace::<Network>(namespace)
            .create(&PostParams::default(), &from(object))
            .await
            .expect("a new Network")
    }

    /// Changes a Network's spec by a merge patch.
    pub async fn edit_network(&self, network: &str, spec: Value) {
        let (namespace, name) = split(network);
        let patch = Patch::Merge(json!({ "spec": spec }));
        let api = self.in_namespace::<Network>(namespace);
        api.patch(name, &PatchParams::default(), &patch).await.expect("a Network to change");
    }

    /// Asks for a Network to go; it may stay until its finalizers let it.
    pub async fn delete_network(&self, network: &str) {
        let (namespace, name) = split(network);
        let api = self.in_namespace::<Network>(namespace);
        api.delete(name, &DeleteParams::default()).await.expect("a Network to delete");
    }

    /// A Network, if it is there.
    pub async fn get_network(&self, network: &str) -> Option<Network> {
        let (namespace, name) = split(network);
        self.in_namespace::<Network>(namespace).get_opt(name).await.expect("an answer")
    }

    /// Waits until a Network serves.
    pub async fn ready(&self, network: &str) -> Network {
        self.network_with(network, "Ready", "True", "").await
    }

    /// Waits until a condition of a Network, made for its spec as it is, has this status and, unless empty, this reason.
    pub async fn network_with(&self, network: &str, kind: &str, status: &str, reason: &str) -> Network {
        let what = format!("{network} has condition {kind} {status} {reason}");
        self.eventually(&what, async || {
            let found = self.get_network(network).await?;
            let holds = condition(&found, kind).is_some_and(|condition| {
                condition["status"] == status
                    && (reason.is_empty() || condition["reason"] == reason)
                    && condition["observedGeneration"] == json!(found.metadata.generation)
            });
            holds.then_some(found)
        })
        .await
    }

    /// Waits until a Network is gone.
    pub async fn gone(&self, network: &str) {
        self.eventually(&format!("{network} is gone"), async || {
            self.get_network(network).await.is_none().then_some(())
        })
        .await;
    }

    /// Makes a Node with labels.
    pub async fn labelled_node(&self, name: &str, labels: Value) {
        let node = json!({ "metadata": { "name": name, "labels": labels } });
        let api = Api::<Node>::all(self.client.clone());
        api.create(&PostParams::default(), &from(node)).await.expect("a new Node");
    }

    /// Sets a Node's taints to these, and no others.
    pub async fn taint_node(&self, name: &str, taints: Value) {
        let patch = Patch::Merge(json!({ "spec": { "taints": taints } }));
        let api = Api::<Node>::all(self.client.clone());
        api.patch(name, &PatchParams::default(), &patch).await.expect("a Node to taint");
    }

    /// What is recorded of a node.
    pub async fn inventory(&self, node: &str) -> Option<NodeInventory> {
        Api::all(self.client.clone()).get_opt(node).await.expect("an answer")
    }

    /// Waits until this many leases are left.
    pub async fn until_leases(&self, count: usize) {
        let counted = async || (self.leases().await.len() == count).then_some(());
        self.eventually(&format!("{count} leases are left"), counted).await;
    }

    /// Waits until no lease is left, as this host reaps: what a slow resolver did not hear is sent again.
    pub async fn until_released_by(&self, host: &Host) {
        let released = async || {
            host.reap();
            self.leases().await.is_empty().then_some(())
        };
        self.eventually("all leases are released", released).await;
    }

    /// All leases.
    pub async fn leases(&self) -> Vec<NetworkLease> {
        self.all().await
    }

    /// All Reservations.
    pub async fn reservations(&self) -> Vec<Reservation> {
        self.all().await
    }

    /// All objects of a kind, in all namespaces.
    pub async fn all<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let listed = Api::<K>::all(self.client.clone()).list(&ListParams::default()).await;
        listed.expect("a list").items
    }

    /// A kind in one namespace.
    pub fn in_namespace<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Asks again until there is an answer.
    ///
    /// # Panics
    /// With `what`, if there is none within [`GENEROUS`].
    pub async fn eventually<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        self.eventually_within(GENEROUS, Duration::from_millis(50), what, ask).await
    }

    /// The same with another patience, and so long between two questions.
    pub async fn eventually_within<T>(
        &self,
        patience: Duration,
        pause: Duration,
        what: &str,
        ask: impl AsyncFn() -> Option<T>,
    ) -> T {
        let begin = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            if begin.elapsed() > patience {
                let networks = Api::<Network>::all(self.client.clone()).list(&ListParams::default()).await;
                let statuses = networks.map(|networks| {
                    let statuses =
                        networks.items.into_iter().map(|network| (network.name_any(), network.status));
                    statuses.collect::<Vec<_>>()
                });
                panic!("waited {} s in vain: {what}; Networks: {statuses:#?}", patience.as_secs());
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// A condition of a Network, as JSON.
pub fn condition(network: &Network, kind: &str) -> Option<Value> {
    let status = serde_json::to_value(network.status.as_ref()?).expect("JSON");
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind).cloned()
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('/').expect("namespace/name")
}

fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of its kind")
}
