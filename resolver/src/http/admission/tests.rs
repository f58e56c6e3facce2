//! Reviews over HTTP, good and bad.

mod behind;
mod senders;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::admission::{Policy, RawAttachments, Subject};
use crate::attach::Attacher;
use crate::http::{Admission, Service, TokenFile, router};
use crate::metrics::{Metrics, StoreCalls};
use crate::provision::Rules;
use crate::store::embedded::EmbeddedStore;
use crate::testing::{Troubled, World};
use crate::view::View;

const PATHS: [&str; 4] = [
    "/admission/networks",
    "/admission/networkclasses",
    "/admission/pods?timeout=1s",
    "/admission/launchers",
];

/// A service that answers reviews, over this view. What it reads for them, it reads from this store.
fn service(store: EmbeddedStore, view: Arc<View>, admission: Option<Policy>) -> axum::Router {
    router(Arc::new(parts(store, view, admission)))
}

fn parts(store: EmbeddedStore, view: Arc<View>, admission: Option<Policy>) -> Service<EmbeddedStore> {
    let others = EmbeddedStore::in_memory().unwrap();
    let admission = admission.map(|policy| Admission::new(policy, store));
    let folder = tempfile::tempdir().unwrap();
    let attacher = Attacher::new(others.clone(), Arc::clone(&view));
    Service {
        metrics: Metrics::new(&view, &StoreCalls::default(), attacher.counters()),
        attacher,
        admission,
        store: others,
        view,
        authority: Box::new(TokenFile::open(&folder.path().join("token")).unwrap()),
        readiness: Arc::default(),
        store_name: "kubernetes",
        broken_manifests: Box::new(Vec::new),
    }
}

fn policy() -> Policy {
    Policy { rules: Rules { sticky: false }, raw_attachments: RawAttachments::default() }
}

async fn post(router: &axum::Router, path: &str, body: String) -> (StatusCode, Value) {
    let request = Request::post(path).header(header::CONTENT_LENGTH, body.len());
    let request = request.body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| panic!("no JSON")))
}

fn review(object: &Value) -> String {
    let request = json!({"uid": "r-1", "operation": "CREATE", "namespace": "shop", "object": object});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
}

#[tokio::test]
async fn a_review_is_answered_without_a_credential() {
    let world = World::new().await;
    let router = service(world.store.clone(), Arc::clone(&world.replica.view), Some(policy()));
    let good = json!({"metadata": {"name": "blue"}, "spec": {"provider": "bridge"}});
    let (status, answer) = post(&router, PATHS[0], review(&good)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer,
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": "r-1", "allowed": true}})
    );
    let bad =
        json!({"metadata": {"name": "blue"}, "spec": {"provider": "bridge", "subnets": ["10.0.0.0/24"]}});
    let (status, answer) = post(&router, PATHS[0], review(&bad)).await;
    assert_eq!((status, &answer["response"]["allowed"]), (StatusCode::OK, &json!(false)));
    let refused = &answer["response"]["status"];
    assert_eq!((&refused["code"], &refused["reason"]), (&json!(403), &json!("Forbidden")));

    // A Network that only the store knows yet is read before anybody is refused.
    let asking = json!({"metadata": {"annotations": {"knap.github.com/networks": "late"}}, "spec": {"containers": [{}]}});
    let held_back = service(world.store.clone(), Arc::clone(&world.replica.view), Some(policy()));
    let (_, answer) = post(&held_back, PATHS[2], review(&asking)).await;
    assert!(answer["response"]["status"]["message"].as_str().unwrap().contains("shop/late does not exist"));
    world.network("shop/late", json!({"provider": "bridge"})).await;
    let (_, answer) = post(&held_back, PATHS[2], review(&asking)).await;
    assert_eq!(
        (&answer["response"]["allowed"], &answer["response"]["patchType"]),
        (&json!(true), &json!("JSONPatch"))
    );
}

#[tokio::test]
async fn nothing_is_let_in_before_the_clusters_own_networks_are_known() {
    let world = World::new().await;
    let view = &world.replica.view;
    view.await_cluster_networks("services");
    let router = service(world.store.clone(), Arc::clone(view), Some(policy()));
    let network = json!({"metadata": {"name": "blue"}, "spec": {"provider": "bridge"}});
    for path in &PATHS[..2] {
        let (status, problem) = post(&router, path, review(&network)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            problem["detail"].as_str().unwrap().contains("which networks the cluster itself uses"),
            "{problem}"
        );
    }
    // A finalizer goes all the same, and so do pods.
    let mut going = network.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    for (path, object) in [(PATHS[0], &going), (PATHS[2], &json!({"spec": {"containers": [{}]}}))] {
        assert_eq!(post(&router, path, review(object)).await.0, StatusCode::OK);
    }
    view.go_on_without_cluster_networks("services");
    assert_eq!(post(&router, PATHS[0], review(&network)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_takes_long_to_decide_keeps_no_others_waiting() {
    let world = World::new().await;
    let service = Arc::new(parts(world.store.clone(), Arc::clone(&world.replica.view), Some(policy())));
    let router = router(Arc::clone(&service));
    let padding = "x".repeat(200 << 10);
    let object = |spec: Value, padding: &str| {
        review(&json!({"metadata": {"name": "new", "annotations": {"x": padding}}, "spec": spec}))
    };
    let class = json!({"provider": "macvlan", "uplinks": [{"interface": "up0"}]});
    let bodies = [
        (PATHS[0], json!({"provider": "bridge"})),
        (PATHS[1], class),
        (PATHS[2], json!({"containers": [{}]})),
    ];
    tokio::time::pause();
    for (path, subject) in [(PATHS[0], Subject::Network), (PATHS[1], Subject::NetworkClass)] {
        // One is decided for as long as this looks.
        let turns = &service.admission.as_ref().unwrap().turns;
        let deciding = turns.decision(subject).await.unwrap();
        let queue = (0..200).map(|index| {
            let (_, spec) = bodies.iter().find(|(other, _)| *other == path).unwrap();
            let body = object(spec.clone(), if index % 2 == 0 { "" } else { &padding });
            let router = router.clone();
            async move { post(&router, path, body).await.0 }
        });
        let others = async {
            tokio::task::yield_now().await;
            let begin = tokio::time::Instant::now();
            for (other, spec) in bodies.iter().filter(|(other, _)| *other != path) {
                for padding in ["", &padding] {
                    let (status, answer) = post(&router, other, object(spec.clone(), padding)).await;
                    assert_eq!(status, StatusCode::OK, "{other} beside {path}: {answer}");
                }
            }
            assert_eq!(begin.elapsed(), Duration::ZERO, "beside {path}");
        };
        let (queue, ()) = tokio::join!(futures::future::join_all(queue), others);
        assert!(queue.iter().all(|status| *status == StatusCode::SERVICE_UNAVAILABLE), "{queue:?}");
        drop(deciding);
    }
}

#[tokio::test]
async fn what_is_no_review_is_a_bad_request() {
    let world = World::new().await;
    let router = service(world.store.clone(), Arc::clone(&world.replica.view), Some(policy()));
    let huge = review(&json!({"metadata": {"annotations": {"x": "y".repeat(super::BODY_LIMIT)}}}));
    let old = review(&json!({})).replace("k8s.io/v1\"", "k8s.io/v1beta1\"");
    let cases = ["", "nonsense", "[]", "{}", r#"{"apiVersion": 7}"#, &old].map(str::to_owned);
    for path in PATHS {
        for body in &cases {
            let (status, problem) = post(&router, path, body.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}");
            assert!(problem["detail"].as_str().unwrap().contains("AdmissionReview"), "{problem}");
        }
        let (status, _) = post(&router, path, huge.clone()).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    let alone = service(world.store.clone(), Arc::clone(&world.replica.view), None);
    assert_eq!(post(&alone, PATHS[0], review(&json!({}))).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn reviews_are_counted_by_webhook_and_outcome() {
    let world = World::new().await;
    let service = Arc::new(parts(world.store.clone(), Arc::clone(&world.replica.view), Some(policy())));
    let router = router(Arc::clone(&service));
    let pod = |network: &str| {
        let annotations = json!({"knap.github.com/networks": network});
        review(&json!({"metadata": {"annotations": annotations}, "spec": {"containers": [{}]}}))
    };
    for (path, body) in [
        (PATHS[0], review(&json!({"metadata": {"name": "blue"}, "spec": {"provider": "bridge"}}))),
        (PATHS[0], review(&json!({"metadata": {"name": "blue"}, "spec": {"subnets": ["10.0.0.0"]}}))),
        (PATHS[0], "nonsense".to_owned()),
        (PATHS[1], review(&json!({"metadata": {"name": "a"}, "spec": {"provider": "none"}}))),
        (PATHS[2], pod("missing")),
        (PATHS[2], pod("missing")),
        (PATHS[2], pod("{")),
        (PATHS[3], pod("missing")),
    ] {
        post(&router, path, body).await;
    }
    let text = service.metrics.text().unwrap();
    let lines = |metric: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(metric));
        lines.map(str::to_owned).collect()
    };
    let reviews = [
        r#"{webhook="networks",outcome="allowed"} 1"#,
        r#"{webhook="networks",outcome="denied"} 1"#,
        r#"{webhook="networks",outcome="malformed"} 1"#,
        r#"{webhook="networkclasses",outcome="denied"} 1"#,
        r#"{webhook="pods",outcome="denied"} 3"#,
        r#"{webhook="launchers",outcome="allowed"} 1"#,
    ];
    assert_eq!(lines("knap_admission_duration_seconds_count"), reviews.map(str::to_owned).into());
    let denials = [
        r#"{webhook="networks",reason="InvalidSpec"} 1"#,
        r#"{webhook="networkclasses",reason="UnknownProvider"} 1"#,
        r#"{webhook="pods",reason="UnknownNetwork"} 2"#,
        r#"{webhook="pods",reason="Unreadable"} 1"#,
    ];
    assert_eq!(lines("knap_admission_denials_total"), denials.map(str::to_owned).into());
}

#[tokio::test]
async fn nothing_passes_while_the_picture_is_not_complete() {
    let store = EmbeddedStore::in_memory().unwrap();
    let (view, _tasks) = View::follow(&Troubled::silent(&store));
    let router = service(store, view, Some(policy()));
    for path in PATHS {
        let (status, problem) = post(&router, path, review(&json!({}))).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("starting"), "{problem}");
    }
}

#[tokio::test]
async fn large_and_strange_objects_are_refused_with_a_short_reason() {
    let world = World::new().await;
    let router = service(world.store.clone(), Arc::clone(&world.replica.view), Some(policy()));
    let megabyte = "ü".repeat(1 << 19);
    let pod = |networks: &str| json!({"metadata": {"annotations": {"knap.github.com/networks": networks}}, "spec": {}});
    for (path, object) in [
        (PATHS[0], json!({"metadata": {"name": "blue"}, "spec": {"class": megabyte}})),
        (PATHS[0], json!({"metadata": {"name": "blue"}, "spec": {"subnets": [megabyte]}})),
        (PATHS[1], json!({"metadata": {"name": "a"}, "spec": {"provider": megabyte}})),
        (PATHS[2], pod(&megabyte)),
        (PATHS[2], pod(&format!("[{{\"name\": \"{megabyte}\"}}]"))),
        (PATHS[2], pod(&format!("a,{}", "b,".repeat(1 << 18)))),
    ] {
        let (status, answer) = post(&router, path, review(&object)).await;
        assert_eq!(status, StatusCode::OK);
        let response = &answer["response"];
        let message = response["status"]["message"].as_str().or(response["warnings"][0].as_str()).unwrap();
        assert!(message.len() < 2048, "{} bytes", message.len());
    }
}

/// A service that all runs of the property share, and what it runs on.
static SHARED: LazyLock<(Runtime, axum::Router, World)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let (router, world) = runtime.block_on(async {
        let world = World::new().await;
        world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
        (service(world.store.clone(), Arc::clone(&world.replica.view), Some(policy())), world)
    });
    (runtime, router, world)
});

/// Any JSON, with keys that mean something at every level.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "blue",
            "shop/blue@a",
            "[{\"name\": \"blue\"}]",
            "10.0.0.0/24",
            "bridge",
            "CREATE",
            "UPDATE"
        ])
        .prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "metadata",
        "annotations",
        "knap.github.com/networks",
        "k8s.v1.cni.cncf.io/networks",
        "name",
        "namespace",
        "spec",
        "status",
        "containers",
        "resources",
        "requests",
        "affinity",
        "nodeAffinity",
        "nodeSelectorTerms",
        "subnets",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "matchExpressions",
        "class",
        "provider",
        "cidr",
        "uid",
        "labels",
        "deletionTimestamp",
        "creationTimestamp",
        "config",
        "x",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let object = prop::collection::vec((keys.clone(), inner.clone()), 0..6);
        let object = object.prop_map(|pairs| {
            Value::Object(
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>(),
            )
        });
        prop_oneof![object, prop::collection::vec(inner, 0..4).prop_map(Value::Array)]
    })
}

proptest! {
    /// Whatever comes, there is an answer, and it is one of the three.
    #[test]
    fn anything_is_answered(
        object in any_json(), old in any_json(), operation in any_json(), whole in any_json(), inside in any::<bool>(),
    ) {
        let (runtime, router, _) = &*SHARED;
        let request = json!({"uid": "r-1", "operation": operation, "namespace": "shop", "object": object, "oldObject": old});
        let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let body = if inside { body } else { whole };
        for path in PATHS {
            let (status, answer) = runtime.block_on(post(router, path, body.to_string()));
            prop_assert!(matches!(status.as_u16(), 200 | 400), "{status} {answer}");
            prop_assert!(status != 200 || answer["response"]["uid"] == "r-1");
        }
    }
}
