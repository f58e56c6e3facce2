//! A node's agent in a cluster: its token, its inventory, and the authorities that it follows.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Node;
use knap_api::NodeInventory;
use knap_protocol::AUDIENCE;
use knap_tests::kubernetes::trust::published;
use knap_tests::{AGENT, Agent, Call, Host, KubernetesApi, Objects, Replica, thin_config};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Authorities of 24 seconds, certificates of 9, and new authorities published for 4 before they sign.
const SHORT_LIVED: &str = "24,9,4";

/// A cluster with the Network `shop/blue`, and one node of it.
struct OneNode {
    _api: KubernetesApi,
    replica: Replica,
    objects: Objects,
    host: Host,
    /// UID of the pod that is attached, `shop/web-0`.
    pod_uid: String,
}

impl OneNode {
    async fn start(certificates: Option<&str>) -> Self {
        let api = KubernetesApi::start().await;
        api.install_crds().await;
        let mut replica = api.replica(&[]);
        if let Some(seconds) = certificates {
            replica = replica.with("KNAP_CERTIFICATE_SECONDS", seconds);
        }
        replica.start();
        replica.wait_ready().await;
        let objects = api.objects().await;
        objects.namespace("shop", &[]).await;
        let plugins = json!([{"type": "first", "ipam": {"type": "knap"}}]);
        let subnets = json!([{"cidr": "10.64.0.0/16", "prefixLength": 24}]);
        objects
            .class(
                "recorded",
                json!({"provider": "cni", "parameters": {"plugins": plugins}, "subnets": subnets}),
            )
            .await;
        objects.network("shop/blue", json!({"class": "recorded"})).await;
        objects.ready("shop/blue").await;
        let host = Host::in_cluster(&json!({}));
        host.delegates.install("first");
        fs::remove_file(host.node_file()).unwrap();
        let pod_uid = objects.pod("shop/web-0", "n1").await.metadata.uid.unwrap();
        let cluster = Self { _api: api, replica, objects, host, pod_uid };
        cluster.mount().await;
        cluster
    }

    /// What the kubelet mounts into the agent's pod, as it is now: a token of the pod, and the ConfigMap.
    async fn mount(&self) {
        let pod = self.objects.agent("n1").await.unwrap();
        let token = self.objects.projected_token(AGENT, Some(&pod), Some(AUDIENCE)).await.unwrap();
        fs::write(self.file("pod-token"), token).unwrap();
        self.mount_authorities().await;
    }

    async fn mount_authorities(&self) -> String {
        let trusted = published(&self.objects.client).await.unwrap();
        let draft = self.file("ca-draft");
        fs::write(&draft, &trusted).unwrap();
        fs::rename(draft, self.file("ca-bundle")).unwrap();
        trusted
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.folder().join(name)
    }

    fn agent(&self) -> Agent {
        let flag = |flag: &str, value: &PathBuf| format!("{flag}={}", value.display());
        self.host.agent_with(
            &[],
            &[
                format!("--endpoint={}", self.replica.endpoint()),
                flag("--service-account-token", &self.file("pod-token")),
                flag("--ca-bundle", &self.file("ca-bundle")),
                "--node-ip=192.0.2.7".to_owned(),
                "--reap-interval=5".to_owned(),
            ],
        )
    }

    fn token(&self) -> String {
        fs::read_to_string(self.file("token")).unwrap_or_default()
    }

    /// ADD and DEL by the node file that the agent has written.
    fn attach_and_detach(&self, container: &str) {
        let (pod, config) = (self.host.pod(container), thin_config("shop/blue", "1.0.0"));
        let add = Call::add(container, &pod, &config).pod("shop", "web-0", &self.pod_uid);
        assert_eq!(add.run(&self.host).addresses().len(), 1);
        Call::del(container, &pod, &config).run(&self.host).quiet();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_its_token_tells_what_it_has_and_attaches() {
    let cluster = OneNode::start(None).await;
    let agent = cluster.agent();
    tokio::task::block_in_place(|| agent.wait_ready());
    tokio::task::block_in_place(|| cluster.attach_and_detach("c1"));
    let inventories = Api::<NodeInventory>::all(cluster.objects.client.clone());
    let told = cluster
        .objects
        .eventually("the node's inventory", async || {
            let inventory = inventories.get_opt("n1").await.unwrap()?;
            inventory.spec.delegates.iter().any(|delegate| delegate.kind == "first").then_some(inventory)
        })
        .await;
    assert_eq!(told.spec.underlay_address.as_deref(), Some("192.0.2.7"));
    assert!(told.spec.agent_version.is_some() && told.spec.plugin_version.is_some(), "{told:?}");
    assert!(cluster.objects.leases().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_is_obtained_anew() {
    let cluster = OneNode::start(None).await;
    let agent = cluster.agent();
    tokio::task::block_in_place(|| agent.wait_ready());
    let first = cluster.token();
    let now = k8s_openapi::jiff::Timestamp::now();
    let revoke =
        json!({"metadata": {"annotations": {"knap.github.com/node-tokens-not-before": now.to_string()}}});
    let nodes = Api::<Node>::all(cluster.objects.client.clone());
    nodes.patch("n1", &PatchParams::default(), &Patch::Merge(revoke)).await.unwrap();
    // The next reap is refused, and then so is the inventory.
    cluster.objects.eventually("another token", async || (cluster.token() != first).then_some(())).await;
    tokio::task::block_in_place(|| agent.wait_ready());
    tokio::task::block_in_place(|| cluster.attach_and_detach("c1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_are_followed_while_they_change() {
    let cluster = OneNode::start(Some(SHORT_LIVED)).await;
    let agent = cluster.agent();
    tokio::task::block_in_place(|| agent.wait_ready());
    let mut seen = HashSet::new();
    while seen.len() < 4 {
        let mounted = cluster.mount_authorities().await;
        cluster
            .objects
            .eventually("the copy follows", async || {
                (fs::read_to_string(cluster.file("ca.crt")).ok()? == mounted).then_some(())
            })
            .await;
        let container = format!("c{}", seen.len());
        tokio::task::block_in_place(|| cluster.attach_and_detach(&container));
        seen.insert(mounted);
    }

    // Somebody else's: the resolver can't prove itself by it, and can by the one that is there.
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(cluster.file("ca-bundle"), stranger.cert.pem()).unwrap();
    tokio::task::block_in_place(|| agent.wait_says(503, "AuthorityWrong"));
    tokio::task::block_in_place(|| cluster.attach_and_detach("c-after"));
}
