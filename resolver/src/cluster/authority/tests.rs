//! Every way to be turned away, and the few to be let in, with the store in memory and a stand-in for the API server's reviews.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::SubjectAccessReviewStatus;
use k8s_openapi::api::core::v1::Node;
use knap_protocol::{NodeCredentials, ProblemKind};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{AgentAccount, ClusterAuthority, Reviews};
use crate::cluster::node_tokens::Keeper;
use crate::http::{Authority, Denied, Readiness};
use crate::identity::BoundPod;
use crate::store::embedded::EmbeddedStore;
use crate::store::{ObjectName, Preconditions, Store, StoreError};
use crate::testing::{Troubled, eventually};
use crate::view::View;

/// Answers as it was told, and counts.
#[derive(Default)]
struct Told {
    token: Mutex<TokenReviewStatus>,
    allowed: Mutex<bool>,
    silent: Mutex<bool>,
    asked: AtomicUsize,
}

impl Told {
    fn answer<T>(&self, answer: T) -> Result<T, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if *self.silent.lock() {
            let source = "connection refused".into();
            return Err(StoreError::Unavailable { action: "create TokenReview".to_owned(), source });
        }
        Ok(answer)
    }
}

impl Reviews for Arc<Told> {
    async fn whose(&self, _: &str, _: Option<&str>) -> Result<TokenReviewStatus, StoreError> {
        self.answer(self.token.lock().clone())
    }

    async fn may_get(&self, _: UserInfo, _: &str) -> Result<SubjectAccessReviewStatus, StoreError> {
        let allowed = *self.allowed.lock();
        self.answer(SubjectAccessReviewStatus { allowed, ..SubjectAccessReviewStatus::default() })
    }
}

/// A cluster with node n1, the pod of its agent, and one replica.
struct Cluster {
    store: EmbeddedStore,
    told: Arc<Told>,
    authority: Box<dyn Authority>,
    view: Arc<View>,
    pod_uid: String,
    _tasks: JoinSet<()>,
}

async fn node(store: &EmbeddedStore, manifest: Value) -> Node {
    store.create(&serde_json::from_value(manifest).unwrap()).await.unwrap()
}

async fn pod(store: &EmbeddedStore, name: &str, spec: Value) -> String {
    let manifest = json!({"metadata": {"namespace": "knap-system", "name": name}, "spec": spec});
    let pod: BoundPod = store.create(&serde_json::from_value(manifest).unwrap()).await.unwrap();
    pod.metadata.uid.unwrap()
}

impl Cluster {
    async fn new() -> Self {
        let store = EmbeddedStore::in_memory().unwrap();
        Self::over(store.clone(), store).await
    }

    /// Whose view is fed from `seen`.
    async fn over<S: Store>(store: EmbeddedStore, seen: S) -> Self {
        node(&store, json!({"metadata": {"name": "n1"}})).await;
        node(&store, json!({"metadata": {"name": "n2"}})).await;
        let pod_uid = pod(&store, "agent-1", json!({"nodeName": "n1"})).await;
        let (view, mut tasks) = View::follow(&seen);
        view.current().await;
        let (keeper, keyring) = Keeper::new(store.clone(), "knap-system", Arc::new(Readiness::default()));
        tasks.spawn(keeper.run());
        let told = Arc::new(Told::default());
        let agent = AgentAccount::default_in("knap-system");
        let authority =
            ClusterAuthority::new(store.clone(), Arc::clone(&told), Arc::clone(&view), keyring, agent);
        let cluster = Self { store, told, authority: Box::new(authority), view, pod_uid, _tasks: tasks };
        *cluster.told.token.lock() = cluster.agents();
        cluster
    }

    /// What the API server says of the token of n1's agent.
    fn agents(&self) -> TokenReviewStatus {
        serde_json::from_value(json!({
            "authenticated": true, "audiences": ["knap-resolver"], "user": {
                "username": "system:serviceaccount:knap-system:knap-node",
                "extra": {
                    "authentication.kubernetes.io/pod-name": ["agent-1"],
                    "authentication.kubernetes.io/pod-uid": [self.pod_uid]
                }
            }
        }))
        .unwrap()
    }

    async fn exchange(&self, node: &str) -> Result<NodeCredentials, Denied> {
        self.authority.exchange(b"projected", node).await
    }

    async fn token(&self) -> Vec<u8> {
        loop {
            match self.exchange("n1").await {
                // Its keys come in a moment.
                Err(Denied { kind: ProblemKind::Unavailable, .. }) => tokio::task::yield_now().await,
                answer => return answer.unwrap().token.into_bytes(),
            }
        }
    }

    async fn annotate(&self, value: Option<&str>) {
        let name = ObjectName::cluster("n1");
        let mut node: Node = self.store.get(&name).await.unwrap().unwrap();
        node.metadata.annotations = value
            .map(|value| [(knap_api::NODE_TOKENS_NOT_BEFORE_ANNOTATION.to_owned(), value.to_owned())].into());
        self.store.update(&node).await.unwrap();
    }
}

fn denied<T: std::fmt::Debug>(answer: Result<T, Denied>, kind: ProblemKind, reason: &str, words: &[&str]) {
    let denied = answer.unwrap_err();
    assert_eq!((denied.kind, denied.reason), (kind, reason), "{denied:?}");
    for word in words {
        assert!(denied.detail.contains(word), "no {word:?} in {}", denied.detail);
    }
}

#[tokio::test]
async fn an_agent_gets_the_token_of_its_own_node() {
    let cluster = Cluster::new().await;
    let token = cluster.token().await;
    cluster.authority.admit_node(&token, "n1").await.unwrap();
    let other = cluster.authority.admit_node(&token, "n2").await;
    denied(other, ProblemKind::Forbidden, "other_node", &["that of n1", "about n2"]);
    let reader = cluster.authority.admit_reader(&token, "/v1/networks").await;
    denied(reader, ProblemKind::Unauthorized, "not_a_reader", &["/v1/networks"]);
    let again = cluster.authority.exchange(&token, "n1").await;
    denied(again, ProblemKind::Unauthorized, "not_a_service_account", &["audience knap-resolver"]);
    let projected = cluster.authority.admit_node(b"projected", "n1").await;
    denied(projected, ProblemKind::Unauthorized, "not_a_node_token", &["POST", "agent"]);
    for path in ["n1", "n2"] {
        let none = cluster.authority.admit_node(b"", path).await;
        denied(none, ProblemKind::Unauthorized, "no_token", &[path, "Authorization: Bearer"]);
    }
}

#[tokio::test]
async fn whoever_is_no_agent_of_the_node_gets_no_token() {
    let cluster = Cluster::new().await;
    cluster.token().await;
    let good = serde_json::to_value(cluster.agents()).unwrap();
    let pod_name = "/user/extra/authentication.kubernetes.io~1pod-name";
    let pod_uid = "/user/extra/authentication.kubernetes.io~1pod-uid";
    let (unauthorized, forbidden) = (ProblemKind::Unauthorized, ProblemKind::Forbidden);
    for (place, value, kind, reason, words) in [
        ("/authenticated", json!(false), unauthorized, "not_authenticated", &["another audience"][..]),
        ("/audiences", json!([]), unauthorized, "not_authenticated", &["knap-resolver"]),
        ("/audiences", json!(["https://kubernetes"]), unauthorized, "not_authenticated", &["knap-resolver"]),
        ("/user/username", json!("admin"), forbidden, "not_the_agent", &["admin", "knap-system/knap-node"]),
        (
            "/user/username",
            json!("system:serviceaccount:shop:knap-node"),
            forbidden,
            "not_the_agent",
            &["shop:knap-node", "--agent-service-account"],
        ),
        (pod_name, json!([]), forbidden, "not_bound_to_a_pod", &["projected"]),
        (pod_uid, json!([""]), forbidden, "not_bound_to_a_pod", &["projected"]),
        (pod_uid, json!(["other"]), forbidden, "pod_gone", &["knap-system/agent-1", "other", "gone"]),
        (pod_name, json!(["agent-9"]), forbidden, "pod_gone", &["agent-9"]),
        (pod_name, json!(["../../nodes/n1"]), forbidden, "pod_gone", &["gone"]),
    ] {
        let mut answer = good.clone();
        *answer.pointer_mut(place).unwrap() = value;
        *cluster.told.token.lock() = serde_json::from_value(answer).unwrap();
        denied(cluster.exchange("n1").await, kind, reason, words);
    }
    *cluster.told.token.lock() = cluster.agents();
    denied(cluster.exchange("n2").await, forbidden, "other_node", &["agent-1", "runs on n1", "about n2"]);
    denied(cluster.authority.exchange(b"", "n1").await, unauthorized, "no_token", &["projected"]);
    *cluster.told.silent.lock() = true;
    denied(cluster.exchange("n1").await, ProblemKind::Unavailable, "unavailable", &["connection refused"]);
}

#[tokio::test]
async fn an_agent_that_no_node_runs_gets_no_token() {
    let cluster = Cluster::new().await;
    cluster.token().await;
    for (name, spec, reason) in
        [("agent-8", json!({}), "other_node"), ("agent-7", json!({"nodeName": "n7"}), "no_node")]
    {
        let uid = pod(&cluster.store, name, spec).await;
        let mut answer = cluster.agents();
        let user = answer.user.as_mut().unwrap();
        user.extra = Some(
            [("pod-name", name.to_owned()), ("pod-uid", uid)]
                .map(|(key, value)| (format!("authentication.kubernetes.io/{key}"), vec![value]))
                .into(),
        );
        *cluster.told.token.lock() = answer;
        denied(cluster.exchange("n7").await, ProblemKind::Forbidden, reason, &["n7"]);
    }
}

#[tokio::test]
async fn tokens_are_revoked_by_annotation_by_the_node_and_by_the_secret() {
    let cluster = Cluster::new().await;
    let first = cluster.token().await;
    let revoked = async |token: &[u8], words: &[&str]| {
        denied(cluster.authority.admit_node(token, "n1").await, ProblemKind::Unauthorized, "revoked", words);
    };
    let told = async |value: Option<&str>| {
        cluster.annotate(value).await;
        let known = || cluster.view.node("n1").unwrap().tokens_not_before.clone();
        eventually("the replica sees it", || known().as_deref() == value).await;
    };
    told(Some("2999-01-01T00:00:00Z")).await;
    revoked(&first, &["2999-01-01T00:00:00Z", "Node n1"]).await;
    denied(cluster.exchange("n1").await, ProblemKind::Forbidden, "revoked", &["2999", "correct it"]);
    told(Some("now")).await;
    revoked(&first, &["no time"]).await;
    told(None).await;
    cluster.authority.admit_node(&first, "n1").await.unwrap();

    let name = ObjectName::cluster("n1");
    cluster.store.delete::<Node>(&name, &Preconditions::default()).await.unwrap();
    eventually("the replica sees that it is gone", || cluster.view.node("n1").is_none()).await;
    let gone = cluster.authority.admit_node(&first, "n1").await;
    denied(gone, ProblemKind::Unauthorized, "node_gone", &["n1"]);
    node(&cluster.store, json!({"metadata": {"name": "n1"}})).await;
    revoked(&first, &["made anew"]).await;
    let second = cluster.token().await;
    cluster.authority.admit_node(&second, "n1").await.unwrap();

    let secret = ObjectName::namespaced("knap-system", "knap-node-tokens");
    let secrets = cluster.store.clone();
    secrets.delete::<k8s_openapi::api::core::v1::Secret>(&secret, &Preconditions::default()).await.unwrap();
    let void = async || {
        let answer = cluster.authority.admit_node(&second, "n1").await;
        answer.is_err_and(|denied| denied.reason == "unknown_key")
    };
    // A replica looks at its Secret every ten seconds, or when somebody shows a token of a key that it does not know.
    let mut strange = second.clone();
    strange[8] ^= 1;
    let strange = cluster.authority.admit_node(&strange, "n1").await;
    denied(strange, ProblemKind::Unauthorized, "unknown_key", &["not in use", "POST"]);
    assert!(void().await);
}

#[tokio::test]
async fn what_the_view_says_is_not_enough_to_refuse() {
    let store = EmbeddedStore::in_memory().unwrap();
    let cluster = Cluster::over(store.clone(), Troubled::held_back(&store)).await;
    // The view keeps the UID of a Node that is another by now.
    let name = ObjectName::cluster("n1");
    cluster.store.delete::<Node>(&name, &Preconditions::default()).await.unwrap();
    let anew = node(&cluster.store, json!({"metadata": {"name": "n1"}})).await;
    let token = cluster.token().await;
    assert_ne!(Some(&cluster.view.node("n1").unwrap().uid), anew.metadata.uid.as_ref());
    cluster.authority.admit_node(&token, "n1").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn readers_are_asked_about_once_in_a_while() {
    let cluster = Cluster::new().await;
    let asked = || cluster.told.asked.swap(0, Ordering::SeqCst);
    asked();
    let read = async |token: &'static str, path: &'static str| {
        cluster.authority.admit_reader(token.as_bytes(), path).await
    };
    let forbidden = read("t", "/metrics").await;
    denied(
        forbidden,
        ProblemKind::Forbidden,
        "not_allowed",
        &["knap-node may not get /metrics", "nonResourceURLs"],
    );
    *cluster.told.allowed.lock() = true;
    assert!(read("t", "/metrics").await.is_err(), "kept for some seconds");
    assert_eq!(asked(), 2);
    read("t", "/v1/networks").await.unwrap();
    read("t", "/v1/networks").await.unwrap();
    assert_eq!(asked(), 2, "another path is another question");
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    read("t", "/metrics").await.unwrap();
    *cluster.told.token.lock() = TokenReviewStatus::default();
    read("t", "/metrics").await.unwrap();
    denied(
        read("u", "/metrics").await,
        ProblemKind::Unauthorized,
        "not_authenticated",
        &["not take the token"],
    );
    denied(
        read("", "/metrics").await,
        ProblemKind::Unauthorized,
        "no_token",
        &["/metrics", "nonResourceURLs"],
    );
    *cluster.told.silent.lock() = true;
    denied(read("v", "/metrics").await, ProblemKind::Unavailable, "unavailable", &["refused"]);
    *cluster.told.silent.lock() = false;
    denied(read("v", "/metrics").await, ProblemKind::Unauthorized, "not_authenticated", &[]);
}
