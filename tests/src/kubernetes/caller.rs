//! What a node's plugin does to the resolver, by the plugin's own client: asks, repeats over endpoints, gives back.

use std::time::{Duration, Instant};

use knap_client::{Endpoint, Resolver, ResolverError};
use knap_protocol::{
    AttachReply, AttachRequest, AttachmentKey, Attempt, JsonObject, LedgerEntry, LedgerState, NetworkName,
    NodeName, PodRef, ReconcileReply, ReconcileRequest, ResolverAccess,
};
use kube::ResourceExt;

use super::Replica;

const BOOT: &str = "boot-1";

/// A node's side, which blocks.
#[derive(Debug)]
pub struct Caller {
    resolver: Resolver,
    pod: PodRef,
    patience: Duration,
}

/// One attachment, or what was asked for as one.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The sandbox, and its interface.
    pub key: AttachmentKey,
    /// Of the ADD.
    pub attempt: Attempt,
    /// `shop/blue`.
    pub network: NetworkName,
    /// Empty as long as there was no answer.
    pub leases: Vec<String>,
    /// Empty as long as there was no answer.
    pub addresses: Vec<String>,
}

impl Attached {
    /// A question that was not asked yet.
    pub fn new(network: &str, container: &str, attempt: &str) -> Self {
        Self {
            key: AttachmentKey {
                container_id: container.parse().expect("a container ID"),
                ifname: "net1".parse().expect("an interface's name"),
            },
            attempt: attempt.parse().expect("an attempt"),
            network: network.parse().expect("a Network's name"),
            leases: Vec::new(),
            addresses: Vec::new(),
        }
    }
}

impl Caller {
    /// As a node, at these endpoints in their order; all attachments are of this pod, `shop/web-0`, which is made there.
    pub async fn on(replica: &Replica, node: &str, endpoints: &[String], pod: &str) -> Self {
        let access = replica.access(node).await;
        let access: ResolverAccess = serde_json::from_value(access).expect("a node file's resolver");
        let pod = replica.objects().await.pod(pod, node).await;
        let (namespace, name) = (pod.namespace().expect("its namespace"), pod.name_any());
        let pod = PodRef { namespace, name, uid: pod.uid() };
        let endpoints = endpoints.iter().map(|endpoint| Endpoint::parse(endpoint).expect("an endpoint"));
        let node: NodeName = node.parse().expect("a node's name");
        let resolver = Resolver::new(&node, &access, endpoints.collect());
        // As long as the plugin asks for an attachment.
        Self { resolver, pod, patience: Duration::from_secs(10) }
    }

    /// One that gives up sooner than the plugin.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// PUT. The answer is noted.
    pub fn attach(&self, attached: &mut Attached) -> Result<AttachReply, ResolverError> {
        let request = AttachRequest {
            network: attached.network.clone(),
            boot_id: BOOT.parse().expect("a boot ID"),
            attempt: attached.attempt.clone(),
            deadline_seconds: 1,
            pod: Some(self.pod.clone()),
            args: JsonObject::new(),
            runtime_config: JsonObject::new(),
            cni_version: "1.0.0".to_owned(),
            leases: attached.leases.clone(),
        };
        let reply = self.resolver.attach(&attached.key, &request, Instant::now() + self.patience)?;
        attached.leases.clone_from(&reply.leases);
        attached.addresses = reply.addresses.iter().map(ToString::to_string).collect();
        Ok(reply)
    }

    /// DELETE, as often as the plugin repeats it in one call.
    pub fn release(&self, attached: &Attached) -> Result<(), ResolverError> {
        let until = Instant::now() + Duration::from_secs(5);
        self.resolver.release(&attached.key, &attached.attempt, &attached.leases, until)
    }

    /// What the resolver knows of this node that is not among these.
    pub fn reconcile(&self, running: &[Attached]) -> Result<ReconcileReply, ResolverError> {
        let boot_id: knap_protocol::BootId = BOOT.parse().expect("a boot ID");
        let entries = running.iter().map(|attached| LedgerEntry {
            key: attached.key.clone(),
            network: attached.network.clone(),
            attempt: attached.attempt.clone(),
            boot_id: boot_id.clone(),
            state: LedgerState::Attached,
            leases: attached.leases.clone(),
        });
        let request =
            ReconcileRequest { boot_id: boot_id.clone(), entries: entries.collect(), unreadable: 0 };
        self.resolver.reconcile(&request, Instant::now() + self.patience)
    }
}
