//! A node's agent in a cluster: its token, its inventory, and the authorities that it follows.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Node;
use knap_api::NodeInventory;
use knap_protocol::AUDIENCE;
use knap_tests::kubernetes::trust::published;
use knap_tests::{AGENT, Agent, Call, Host, KubernetesApi, Objects, Replica, eventually, thin_config};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Authorities of 60 seconds, certificates of 20, and new authorities published for 15 before they sign.
const SHORT_LIVED: &str = "60,20,15";

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
        self.replace(&self.file("ca-bundle"), trusted.as_bytes());
        trusted
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.folder().join(name)
    }

    /// Gives a file other content, at once: the agent reads it at any time.
    fn replace(&self, path: &Path, content: &[u8]) {
        let draft = self.file("draft");
        fs::write(&draft, content).unwrap();
        fs::rename(draft, path).unwrap();
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

    /// Waits until the agent says so, and the node's inventory has it as the reason of its condition.
    async fn told(&self, agent: &Agent, status: u16, reason: &str) {
        tokio::task::block_in_place(|| agent.wait_says(status, &format!("{reason}: ")));
        self.inventory_says("False", reason).await;
    }

    /// Waits until the agent is ready, and the node's inventory says so.
    async fn settled(&self, agent: &Agent) {
        tokio::task::block_in_place(|| agent.wait_well());
        self.inventory_says("True", "Ready").await;
    }

    async fn inventory_says(&self, status: &str, reason: &str) {
        let what = format!("the inventory's condition is {status} {reason}");
        self.objects
            .eventually(&what, async || {
                let inventory = serde_json::to_value(self.objects.inventory("n1").await?).unwrap();
                let condition = &inventory["status"]["conditions"][0];
                (condition["status"] == status && condition["reason"] == reason).then_some(())
            })
            .await;
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
            let has_first = inventory.spec.delegates.iter().any(|delegate| delegate.kind == "first");
            (has_first && inventory.spec.plugin_version.is_some()).then_some(inventory)
        })
        .await;
    assert_eq!(told.spec.underlay_address.as_deref(), Some("192.0.2.7"));
    assert!(told.spec.agent_version.is_some(), "{told:?}");
    // A release that the resolver was too slow for is sent again by the agent.
    cluster.objects.until_leases(0).await;
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

/// Each fault is told in both places, heals when its cause is gone, and is none for the pod that runs.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_the_inventory_and_breaks_nothing_that_runs() {
    let cluster = OneNode::start(None).await;
    let host = &cluster.host;
    let (bin, plugin) = (host.delegates.bin(), host.delegates.bin().join("knap"));
    let mut agent = cluster.agent();
    cluster.settled(&agent).await;
    let (pod, config) = (host.pod("runs"), thin_config("shop/blue", "1.0.0"));
    let add = Call::add("runs", &pod, &config).pod("shop", "web-0", &cluster.pod_uid);
    tokio::task::block_in_place(|| add.run(host).result());
    pod.add_interface("net1");
    host.delegates.forget();

    // In one step, since the agent puts back what is missing.
    let another = bin.join(".another");
    fs::write(&another, "#!/bin/sh\necho somebody else >&2\n").unwrap();
    fs::set_permissions(&another, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::rename(&another, &plugin).unwrap();
    cluster.told(&agent, 503, "ForeignPlugin").await;
    fs::remove_file(&plugin).unwrap();
    cluster.settled(&agent).await;

    fs::rename(&bin, cluster.file("moved")).unwrap();
    cluster.told(&agent, 503, "PluginFolderMissing").await;
    fs::rename(cluster.file("moved"), &bin).unwrap();
    cluster.settled(&agent).await;

    let size = usize::try_from(fs::metadata(&plugin).unwrap().len()).unwrap();
    let disk = host.tiny_disk_for_plugins(size * 4);
    // The agent may be faster, and install it again.
    eventually("a folder without a plugin that nobody writes to", || {
        let _ = fs::remove_file(&plugin);
        disk.read_only(true);
        let is_gone = !plugin.exists();
        disk.read_only(is_gone);
        is_gone.then_some(())
    });
    cluster.told(&agent, 503, "PluginNotInstalled").await;
    disk.read_only(false);
    cluster.settled(&agent).await;
    drop(disk);

    let authorities = fs::read(cluster.file("ca-bundle")).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(cluster.file("ca-bundle"), stranger.cert.pem()).unwrap();
    cluster.told(&agent, 503, "AuthorityWrong").await;
    fs::write(cluster.file("ca-bundle"), authorities).unwrap();
    cluster.settled(&agent).await;

    // Due, since nobody knows its age, and nothing to get another for.
    let shown = fs::read(cluster.file("pod-token")).unwrap();
    fs::remove_file(cluster.file("pod-token")).unwrap();
    fs::write(cluster.file("token.json"), "{").unwrap();
    cluster.told(&agent, 200, "TokenNotRenewed").await;
    fs::write(cluster.file("pod-token"), shown).unwrap();
    cluster.settled(&agent).await;

    let entry = host.ledger.entry_file("runs", "net1");
    let whole = fs::read(&entry).unwrap();
    cluster.replace(&entry, b"");
    cluster.told(&agent, 200, "LedgerCorrupt").await;
    assert_eq!(cluster.objects.leases().await.len(), 1, "its address stays taken");
    cluster.replace(&entry, &whole);
    fs::remove_file(host.ledger.folder().join("corrupt").join(&host.ledger.corrupt()[0])).unwrap();
    cluster.settled(&agent).await;

    tokio::task::block_in_place(|| agent.stop());
    fs::create_dir(cluster.file("agent.lock")).unwrap();
    let agent = cluster.agent();
    cluster.told(&agent, 503, "FolderUnusable").await;
    fs::remove_dir(cluster.file("agent.lock")).unwrap();
    cluster.settled(&agent).await;

    assert_eq!(host.delegates.steps(), Vec::<String>::new(), "nothing was done to what runs");
    assert!(pod.interfaces().contains(&"net1".to_owned()));
    tokio::task::block_in_place(|| Call::del("runs", &pod, &config).run(host).quiet());
    assert_eq!(host.delegates.steps(), ["DEL first"]);
    cluster.objects.until_leases(0).await;
}

/// Nothing is there that could serve instead: the node says so to whoever asks it, and is ready once the right one comes.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_wrong_from_the_start_heals() {
    let cluster = OneNode::start(None).await;
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(cluster.file("ca-bundle"), stranger.cert.pem()).unwrap();
    let agent = cluster.agent();
    tokio::task::block_in_place(|| agent.wait_says(503, "NoToken: "));
    cluster.mount_authorities().await;
    cluster.settled(&agent).await;
    tokio::task::block_in_place(|| cluster.attach_and_detach("c1"));
}
