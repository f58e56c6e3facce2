//! What nodes assert of attachments that lost their leases, in a cluster.

use std::sync::Arc;

use knap_protocol::{AttachReply, ProblemKind};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::attach::{Attacher, Refusal};
use crate::identity::{BoundPod, Pods};
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;
use crate::testing::{World, attach, eventually};

/// A Network of the bank's that nobody else may use, and pods `shop/named` on node n1, which names it once, and `shop/other`.
struct Cluster {
    world: World,
    attacher: Attacher<EmbeddedStore>,
    _tasks: JoinSet<()>,
}

async fn cluster(network: Value) -> Cluster {
    let world = World::new().await;
    world
        .class(
            "few",
            json!({
                "provider": "bridge", "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 24}],
                "allowSharing": true, "access": {"attachmentsPerNamespace": 1}
            }),
        )
        .await;
    world.ready_network("bank/blue", network).await;
    for (name, networks) in [("named", "bank/blue"), ("other", "other")] {
        let annotations = json!({"k8s.v1.cni.cncf.io/networks": networks});
        let metadata = json!({"namespace": "shop", "name": name, "annotations": annotations});
        let pod = json!({"metadata": metadata, "spec": {"nodeName": "n1"}});
        world.store.create(&serde_json::from_value::<BoundPod>(pod).unwrap()).await.unwrap();
    }
    let (pods, follow) = Pods::follow(&world.store, |_| ());
    let mut tasks = JoinSet::new();
    tasks.spawn(follow);
    let attacher = Attacher::new(world.store.clone(), Arc::clone(&world.replica.view)).asking(pods);
    Cluster { world, attacher, _tasks: tasks }
}

impl Cluster {
    async fn asserted(&self, container: &str, pod: &str, lease: &str) -> Result<AttachReply, Refusal> {
        let pod = json!({"namespace": "shop", "name": pod});
        let request = json!({"network": "bank/blue", "pod": pod, "leases": [lease]});
        attach(&self.attacher, container, request).await
    }

    /// How many leases there are, which the view knows.
    async fn leases(&self) -> usize {
        let count = self.world.leases().await.len();
        eventually("all leases are known", || self.world.replica.view.leases.len() == count).await;
        count
    }
}

#[tokio::test]
async fn a_nodes_word_lets_nobody_into_a_network() {
    let cluster = cluster(json!({"class": "few"})).await;
    let refused = |asserted: Result<AttachReply, Refusal>| {
        let refusal = asserted.unwrap_err();
        assert_eq!(refusal.kind(), ProblemKind::NotPermitted, "{refusal}");
    };
    refused(cluster.asserted("c1", "other", "bank.blue-5").await);
    assert_eq!(cluster.leases().await, 0, "nothing is written");
    // A pod that was let in while it was permitted, by its own word: its address stays taken, and it is told no more.
    refused(cluster.asserted("c2", "named", "bank.blue-6").await);
    assert_eq!(cluster.leases().await, 1);
    refused(cluster.asserted("c2", "named", "bank.blue-6").await);
    // It names the Network once, and has it.
    refused(cluster.asserted("c3", "named", "bank.blue-7").await);
    assert_eq!(cluster.leases().await, 1);
}

#[tokio::test]
async fn a_nodes_word_is_no_way_around_a_quota() {
    let cluster = cluster(json!({"class": "few", "sharedWith": {"namespaceSelector": {}}})).await;
    cluster.asserted("c1", "other", "bank.blue-5").await.unwrap();
    assert_eq!(cluster.leases().await, 1);
    cluster.asserted("c1", "other", "bank.blue-5").await.unwrap();
    cluster.asserted("c1", "other", "bank.blue-8").await.unwrap_err();
    let refusal = cluster.asserted("c2", "other", "bank.blue-6").await.unwrap_err();
    assert!(matches!(refusal, Refusal::OverQuota(_)), "{refusal}");
    // The quota is lower than it was when this pod came.
    cluster.asserted("c3", "named", "bank.blue-7").await.unwrap();
    assert_eq!(cluster.leases().await, 2);
}
