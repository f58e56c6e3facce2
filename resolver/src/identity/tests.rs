//! What nodes may say of pods.

use std::sync::Arc;

use knap_protocol::{AttachRequest, NodeName, PodRef};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{BoundPod, IdentityError, Pods};
use crate::attach::Attacher;
use crate::store::embedded::EmbeddedStore;
use crate::store::{ObjectName, Preconditions, Store};
use crate::testing::{Troubled, World, attach, eventually};

async fn pod(store: &EmbeddedStore, name: &str, node: Option<&str>, annotations: Value) -> String {
    let metadata = json!({"namespace": "shop", "name": name, "annotations": annotations});
    let pod = json!({"metadata": metadata, "spec": {"nodeName": node}});
    let made: BoundPod = store.create(&serde_json::from_value(pod).unwrap()).await.unwrap();
    made.metadata.uid.unwrap()
}

async fn delete(store: &EmbeddedStore, name: &str) {
    let name = ObjectName::namespaced("shop", name);
    store.delete::<BoundPod>(&name, &Preconditions::default()).await.unwrap();
}

fn request(name: &str, uid: Option<&str>, leases: &[&str]) -> AttachRequest {
    serde_json::from_value(json!({
        "network": "shop/blue", "bootID": "b", "attempt": "a", "deadlineSeconds": 1, "cniVersion": "1.0.0",
        "pod": {"namespace": "shop", "name": name, "uid": uid}, "leases": leases
    }))
    .unwrap()
}

/// What node n1 hears of a pod.
async fn asked<S: Store>(
    pods: &Pods<S>,
    name: &str,
    uid: Option<&str>,
    leases: &[&str],
) -> Result<Option<String>, IdentityError> {
    let node: NodeName = "n1".parse().unwrap();
    let proven = pods.proven(&node, &request(name, uid, leases)).await?;
    assert_eq!((proven.namespace.as_str(), proven.name.as_str()), ("shop", name));
    Ok(proven.uid)
}

fn follow<S: Store>(store: &S) -> (Arc<Pods<S>>, JoinSet<()>) {
    let (pods, follow) = Pods::follow(store, |_| ());
    let mut tasks = JoinSet::new();
    tasks.spawn(follow);
    (pods, tasks)
}

fn is_known<S: Store>(pods: &Pods<S>, name: &str, uid: &str, node: &str) -> bool {
    let asked = PodRef { namespace: "shop".to_owned(), name: name.to_owned(), uid: Some(uid.to_owned()) };
    pods.recalled(&node.parse().unwrap(), &asked).0
}

#[rstest]
#[case::known_from_the_watch(true)]
#[case::read_from_the_store(false)]
#[tokio::test]
async fn a_node_asks_for_its_own_pods_alone(#[case] watched: bool) {
    let store = EmbeddedStore::in_memory().unwrap();
    let own = pod(&store, "own", Some("n1"), json!({})).await;
    let other = pod(&store, "other", Some("n2"), json!({})).await;
    let nowhere = pod(&store, "nowhere", None, json!({})).await;
    let mirror = pod(&store, "mirror", Some("n1"), json!({"kubernetes.io/config.hash": "h1"})).await;
    let (pods, _tasks) = follow(&store);
    if watched {
        eventually("all is known", || is_known(&pods, "mirror", "h1", "n1")).await;
        assert!(is_known(&pods, "own", &own, "n1") && !is_known(&pods, "own", &own, "n2"));
    }
    assert_eq!(asked(&pods, "own", Some(&own), &[]).await.unwrap(), Some(own.clone()));
    assert_eq!(
        asked(&pods, "own", None, &[]).await.unwrap(),
        Some(own.clone()),
        "the lease tells which it was"
    );
    assert_eq!(asked(&pods, "own", Some(""), &[]).await.unwrap(), Some(own));
    assert_eq!(asked(&pods, "mirror", Some("h1"), &[]).await.unwrap().as_deref(), Some("h1"));
    assert_eq!(asked(&pods, "mirror", Some(&mirror), &[]).await.unwrap(), Some(mirror));
    for (name, uid, reason, real, words) in [
        (
            "other",
            Some(other.as_str()),
            "pod_elsewhere",
            Some(other.as_str()),
            &["shop/other", "node n2", "node n1"][..],
        ),
        ("other", None, "pod_elsewhere", Some(other.as_str()), &["shop/other", "node n2"]),
        ("nowhere", Some(nowhere.as_str()), "pod_unbound", Some(nowhere.as_str()), &["not bound", "node n1"]),
        ("own", Some("u9"), "pod_gone", None, &["shop/own", "u9", "node n1"]),
        ("mirror", Some("h2"), "pod_gone", None, &["h2"]),
        ("none", Some("u1"), "pod_unknown", None, &["no pod shop/none", "node n1", "mirror"]),
        ("No/Name", None, "pod_unknown", None, &["No/Name"]),
    ] {
        let error = asked(&pods, name, uid, &[]).await.unwrap_err();
        let said = error.to_string();
        assert_eq!((error.reason(), error.kind().status()), (reason, 403), "{said}");
        assert_eq!(error.pod().and_then(|pod| pod.uid).as_deref(), real, "{said}");
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    }
    let mut without = request("own", None, &[]);
    without.pod = None;
    let error = pods.proven(&"n1".parse().unwrap(), &without).await.unwrap_err();
    assert!(matches!(error, IdentityError::NoPod) && error.to_string().contains("CNI_ARGS"));
}

#[tokio::test]
async fn what_is_not_known_yet_is_read_before_anyone_is_refused() {
    let store = EmbeddedStore::in_memory().unwrap();
    let first = pod(&store, "web-0", Some("n1"), json!({})).await;
    let (pods, _tasks) = follow(&Troubled::held_back(&store));
    eventually("the beginning is told", || is_known(&pods, "web-0", &first, "n1")).await;
    delete(&store, "web-0").await;
    let second = pod(&store, "web-0", Some("n1"), json!({})).await;
    let later = pod(&store, "later", Some("n1"), json!({})).await;
    asked(&pods, "web-0", Some(&second), &[]).await.unwrap();
    asked(&pods, "later", Some(&later), &[]).await.unwrap();
}

#[tokio::test]
async fn what_runs_on_after_its_pod_keeps_its_lease_if_it_was_seen_there() {
    let store = EmbeddedStore::in_memory().unwrap();
    let own = pod(&store, "own", Some("n1"), json!({})).await;
    let other = pod(&store, "other", Some("n2"), json!({})).await;
    let (pods, _tasks) = follow(&store);
    eventually("all is known", || {
        is_known(&pods, "own", &own, "n1") && is_known(&pods, "other", &other, "n2")
    })
    .await;
    delete(&store, "own").await;
    delete(&store, "other").await;
    eventually("both are gone", || {
        !is_known(&pods, "own", &own, "n1") && !is_known(&pods, "other", &other, "n2")
    })
    .await;
    let leases = &["shop.blue-5"][..];
    assert_eq!(asked(&pods, "own", Some(&own), leases).await.unwrap().as_deref(), Some(own.as_str()));
    assert_eq!(
        asked(&pods, "own", Some(&own), &[]).await.unwrap_err().reason(),
        "pod_unknown",
        "nothing new for it"
    );
    for (name, uid) in
        [("other", Some(other.as_str())), ("own", None), ("own", Some("u9")), ("never", Some("u1"))]
    {
        assert_eq!(asked(&pods, name, uid, leases).await.unwrap_err().reason(), "pod_unknown", "{name}");
    }
    // Made anew elsewhere meanwhile, as that of a StatefulSet is.
    pod(&store, "own", Some("n2"), json!({})).await;
    asked(&pods, "own", Some(&own), leases).await.unwrap();
    assert_eq!(asked(&pods, "own", Some(&own), &[]).await.unwrap_err().reason(), "pod_gone");
}

#[tokio::test]
async fn nothing_is_written_for_a_pod_that_is_not_the_nodes() {
    let world = World::new().await;
    world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let own = pod(&world.store, "own", Some("n1"), json!({})).await;
    let other = pod(&world.store, "other", Some("n2"), json!({})).await;
    let (pods, _tasks) = follow(&world.store);
    let attacher = Attacher::new(world.store.clone(), Arc::clone(&world.replica.view)).asking(pods);
    let pod = |name: &str, uid: Option<&str>| json!({"pod": {"namespace": "shop", "name": name, "uid": uid}});
    for request in [json!({}), pod("other", Some(&other)), pod("own", Some("u9")), pod("none", None)] {
        let refusal = attach(&attacher, "c1", request).await.unwrap_err();
        assert_eq!(refusal.kind().status(), 403, "{refusal}");
    }
    assert!(world.leases().await.is_empty());
    attach(&attacher, "c1", pod("own", None)).await.unwrap();
    let holder = world.leases().await[0].spec.holders[0].pod.clone().unwrap();
    assert_eq!((holder.name.as_str(), holder.uid), ("own", Some(own)));
}
