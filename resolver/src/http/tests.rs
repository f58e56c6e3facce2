//! The API as a caller sees it: paths, credentials, media types, problems.

mod senders;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use knap_protocol::{AttachReply, AttachmentView, NetworkView, Problem, ReconcileReply, StatusView};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Service, TokenFile, router};
use crate::attach::Attacher;
use crate::metrics::{Metrics, StoreCalls};
use crate::testing::World;

const ATTACHMENT: &str = "/v1/nodes/n1/attachments/c1/net1";

struct Api {
    router: axum::Router,
    token: String,
    _folder: tempfile::TempDir,
    world: World,
}

struct Answer {
    status: StatusCode,
    media_type: String,
    challenge: String,
    body: Vec<u8>,
}

impl Answer {
    fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The problem document, which every refusal must be.
    fn problem(&self) -> Problem {
        assert_eq!(self.media_type, Problem::MEDIA_TYPE);
        let problem: Problem = self.json();
        assert_eq!(problem.status, self.status.as_u16());
        assert!(!problem.id.is_empty() && !problem.detail.is_empty() && !problem.title.is_empty());
        problem
    }
}

impl Api {
    async fn new() -> Self {
        let world = World::new().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token_file = TokenFile::open(&path).unwrap();
        let view = Arc::clone(&world.replica.view);
        let attacher = Attacher::new(world.store.clone(), Arc::clone(&view));
        let service = Service {
            metrics: Metrics::new(&view, &StoreCalls::default(), attacher.counters()),
            attacher,
            admission: None,
            store: world.store.clone(),
            view,
            authority: Box::new(token_file),
            readiness: Arc::default(),
            store_name: "embedded",
            broken_manifests: Box::new(|| vec!["a.yaml: broken".to_owned()]),
        };
        let token = std::fs::read_to_string(&path).unwrap().trim().to_owned();
        Self { router: router(Arc::new(service)), token, _folder: folder, world }
    }

    async fn call(&self, method: Method, path: &str, body: &str) -> Answer {
        self.call_as(&format!("Bearer {}", self.token), method, path, body).await
    }

    async fn call_as(&self, credential: &str, method: Method, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request =
            request.header(header::AUTHORIZATION, credential).body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let header = |name: header::HeaderName| {
            let value = response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        let (media_type, challenge) = (header(header::CONTENT_TYPE), header(header::WWW_AUTHENTICATE));
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
        Answer { status, media_type, challenge, body }
    }
}

fn request(more: &Value) -> String {
    let mut request = json!({
        "network": "shop/blue", "bootID": "b1", "attempt": "a1", "deadlineSeconds": 20, "cniVersion": "1.0.0",
        "later": "fields are ignored"
    });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request.to_string()
}

#[tokio::test]
async fn an_attachment_is_made_seen_and_released() {
    let api = Api::new().await;
    api.world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
    let put = api.call(Method::PUT, ATTACHMENT, &request(&json!({}))).await;
    assert_eq!((put.status, put.media_type.as_str()), (StatusCode::OK, "application/json"));
    let reply: AttachReply = put.json();
    assert_eq!((reply.plugins.len(), reply.host_links.len(), reply.addresses.len()), (1, 1, 1));

    let seen: Vec<AttachmentView> =
        api.call(Method::GET, "/v1/attachments?network=shop/blue", "").await.json();
    assert_eq!((seen.len(), seen[0].lease.as_str()), (1, reply.leases[0].as_str()));
    let network: NetworkView = api.call(Method::GET, "/v1/networks/shop/blue", "").await.json();
    assert!(network.ready && network.attachments == 1 && network.subnets[0].allocated == 1, "{network:?}");
    let all: Vec<NetworkView> = api.call(Method::GET, "/v1/networks", "").await.json();
    assert_eq!(all, [network]);

    let ledger = json!({"bootID": "b1", "entries": []}).to_string();
    let reconciled = api.call(Method::POST, "/v1/nodes/n1/attachments:reconcile", &ledger).await;
    assert_eq!(reconciled.json::<ReconcileReply>().suspects[0].lease, reply.leases[0]);

    let path = format!("{ATTACHMENT}?attempt=a1&lease={}", reply.leases[0]);
    for _ in 0..2 {
        let deleted = api.call(Method::DELETE, &path, "").await;
        assert_eq!((deleted.status, deleted.body.len()), (StatusCode::NO_CONTENT, 0));
    }
    assert!(api.call(Method::GET, "/v1/attachments", "").await.json::<Vec<AttachmentView>>().is_empty());
}

#[tokio::test]
async fn the_status_needs_no_token_and_all_else_does() {
    let api = Api::new().await;
    let status = api.call_as("", Method::GET, "/v1/status", "").await;
    let status: StatusView = status.json();
    assert!(status.ready && status.store == "embedded" && status.broken_manifests == ["a.yaml: broken"]);
    let wrong =
        [String::new(), "Bearer".to_owned(), "Bearer wrong".to_owned(), format!("Basic {}", api.token)];
    for credential in &wrong {
        for (method, path) in [
            (Method::PUT, ATTACHMENT),
            (Method::DELETE, ATTACHMENT),
            (Method::POST, "/v1/nodes/n1/attachments:reconcile"),
            (Method::POST, "/v1/nodes/n1/credentials"),
            (Method::PUT, "/v1/nodes/n1/nowhere"),
            (Method::GET, "/v1/networks"),
            (Method::GET, "/v1/attachments"),
            (Method::GET, "/metrics"),
            (Method::GET, "/nowhere"),
        ] {
            let answer = api.call_as(credential, method, path, "{").await;
            assert_eq!(answer.problem().status, 401, "{credential} {path}");
            assert_eq!(answer.problem().cni_code.0, 11);
            // RFC 6750, section 3: an error is named only where a token was shown.
            let shown = credential == "Bearer wrong";
            assert_eq!(
                answer.challenge.contains("invalid_token"),
                shown,
                "{credential}: {}",
                answer.challenge
            );
            assert!(answer.challenge.starts_with("Bearer realm="), "{}", answer.challenge);
        }
    }
    let none = api.call(Method::POST, "/v1/nodes/n1/credentials", "").await;
    assert!(none.problem().status == 403 && none.problem().detail.contains("single host"));
    let lower = api.call_as(&format!("bearer {}", api.token), Method::GET, "/v1/networks", "").await;
    assert_eq!(lower.status, StatusCode::OK);
}

#[tokio::test]
async fn whatever_is_wrong_is_a_problem_document() {
    let api = Api::new().await;
    let good = request(&json!({}));
    let boundless = request(&json!({"args": {"x": "y".repeat(super::ATTACH_LIMIT)}}));
    let cases = [
        (Method::PUT, ATTACHMENT.to_owned(), "", 400, "body"),
        (Method::PUT, ATTACHMENT.to_owned(), "{\"network\": \"shop/blue\"}", 400, "missing field"),
        (Method::PUT, ATTACHMENT.to_owned(), &request(&json!({"network": "SHOP/blue"})), 400, "SHOP/blue"),
        (Method::PUT, ATTACHMENT.to_owned(), &good, 404, "shop/blue"),
        (Method::PUT, ATTACHMENT.to_owned(), &boundless, 413, "body"),
        (Method::PUT, "/v1/nodes/N1/attachments/c1/net1".to_owned(), &good, 400, "N1"),
        (Method::PUT, "/v1/nodes/n1/attachments/-c/net1".to_owned(), &good, 400, "-c"),
        (Method::PUT, "/v1/nodes/n1/attachments/c1/a%2Fb".to_owned(), &good, 400, "a/b"),
        (Method::DELETE, ATTACHMENT.to_owned(), "", 400, "attempt"),
        (Method::DELETE, format!("{ATTACHMENT}?attempt=a_b"), "", 400, "a_b"),
        (Method::DELETE, format!("{ATTACHMENT}?attempt=a&lease={}", "x,".repeat(40)), "", 400, "40"),
        (Method::POST, "/v1/nodes/n1/attachments:reconcile".to_owned(), "[]", 400, "body"),
        (Method::GET, "/v1/networks/shop/none".to_owned(), "", 404, "shop/none"),
        (Method::GET, "/v1/attachments?network=none".to_owned(), "", 400, "none"),
        (Method::GET, ATTACHMENT.to_owned(), "", 405, "GET"),
        (Method::POST, "/v1/status".to_owned(), "", 405, "POST"),
        (Method::GET, "/v2/networks".to_owned(), "", 404, "/v2/networks"),
        (Method::GET, "/v1/nodes/n1/nowhere".to_owned(), "", 404, "/v1/nodes/n1/nowhere"),
        (Method::GET, "/v1/nodes/n1/credentials".to_owned(), "", 405, "GET"),
    ];
    for (method, path, body, status, word) in cases {
        let problem = api.call(method.clone(), &path, body).await.problem();
        assert_eq!(problem.status, status, "{method} {path}: {}", problem.detail);
        assert!(problem.detail.contains(word), "{method} {path}: {}", problem.detail);
    }
}

#[tokio::test]
async fn what_was_asked_is_measured() {
    let api = Api::new().await;
    assert_eq!(api.call(Method::PUT, ATTACHMENT, &request(&json!({}))).await.problem().status, 404);
    api.call_as("", Method::PUT, ATTACHMENT, "{}").await;
    let metrics = api.call(Method::GET, "/metrics", "").await;
    assert_eq!((metrics.status, metrics.media_type.as_str()), (StatusCode::OK, crate::metrics::MEDIA_TYPE));
    let text = String::from_utf8(metrics.body).unwrap();
    let line = r#"knap_request_duration_seconds_count{call="attach",outcome="unknown_network"} 1"#;
    assert!(text.contains(line), "{text}");
    assert!(text.contains(r#"knap_denied_requests_total{reason="no_token"} 1"#), "{text}");
}
