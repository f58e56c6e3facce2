//! A replica that reaches its API server through a proxy, beside a healthy one that leads.

use std::sync::Arc;

use knap_api::NetworkLease;
use knap_protocol::{AttachReply, Problem};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::{Objects, Proxy, Replica};

/// With a namespace and a Network, `<namespace>/blue`, of the test's own.
#[derive(Debug)]
pub struct Behind {
    /// What only this replica suffers.
    pub proxy: Proxy,
    /// Ready at first.
    pub replica: Replica,
    /// The shared API and the leader on it, which suffers nothing.
    pub cluster: Arc<Cluster>,
    /// Objects of that API.
    pub objects: Objects,
    /// `<namespace>/blue`.
    pub network: String,
    namespace: String,
}

impl Behind {
    /// With a Network that any class serves.
    pub async fn start(namespace: &str) -> Self {
        Self::start_with(namespace, json!({"provider": "bridge"})).await
    }

    /// With a Network of this spec, Ready and known to both replicas.
    pub async fn start_with(namespace: &str, network: Value) -> Self {
        let cluster = Cluster::shared().await;
        let objects = cluster.api.objects().await;
        objects.namespace(namespace, &[]).await;
        let name = format!("{namespace}/blue");
        objects.network(&name, network).await;
        objects.ready(&name).await;
        let proxy = cluster.api.proxy().await;
        let mut replica = cluster.api.replica(&[&proxy.flag()]);
        replica.start();
        replica.wait_ready().await;
        Self { proxy, replica, cluster, objects, network: name, namespace: namespace.to_owned() }
    }

    /// A name of a container that no other test uses.
    pub fn container(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// The request, for the test's own Network.
    pub fn of_network(&self, mut request: Value) -> Value {
        request["network"] = json!(self.network);
        request
    }

    /// An attachment by the replica behind the proxy, which must succeed.
    pub async fn attached(&self, container: &str, request: Value) -> AttachReply {
        self.attached_by(&self.replica, container, request).await
    }

    /// The same by any replica.
    pub async fn attached_by(&self, replica: &Replica, container: &str, request: Value) -> AttachReply {
        replica.attached("n1", &self.container(container), self.of_network(request)).await
    }

    /// Why the replica behind the proxy refuses an attachment.
    pub async fn refused(&self, container: &str, request: Value) -> Problem {
        let reply = self.replica.attach("n1", &self.container(container), self.of_network(request)).await;
        let reply = reply.expect("an answer");
        assert!(reply.status >= 400, "{reply:?}");
        reply.json()
    }

    /// DELETE through a replica, which must succeed; without leases, as a caller does who never learned which it has.
    pub async fn release(&self, replica: &Replica, container: &str, leases: &[String]) {
        let reply = replica.release("n1", &self.container(container), leases).await.expect("an answer");
        assert_eq!(reply.status, 204, "{reply:?}");
    }

    /// Leases in the test's own namespace.
    pub async fn leases(&self) -> Vec<NetworkLease> {
        let mut leases = self.objects.leases().await;
        leases.retain(|lease| lease.spec.network.namespace == self.namespace);
        leases
    }
}
