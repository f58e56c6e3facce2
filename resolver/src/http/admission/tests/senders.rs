//! Who sends slowly or without end, and who is answered all the same.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use futures::future::join_all;
use futures::stream;
use serde_json::json;
use tokio::time::Instant;
use tower::ServiceExt;

use super::super::BODY_LIMIT;
use super::{PATHS, policy, post, review, service};
use crate::http::peers::Peers;
use crate::testing::World;

/// A pod that asks for nothing, as a review with so many bytes more.
fn pod(padding: usize) -> String {
    let metadata = json!({"name": "web-0", "annotations": {"x": "x".repeat(padding)}});
    review(&json!({"metadata": metadata, "spec": {"containers": [{}]}}))
}

/// What comes of a review that says how long it is, or does not, and of which nothing comes.
async fn stalled(router: Router, path: &str, length: Option<usize>) -> StatusCode {
    let nothing = stream::pending::<Result<Bytes, io::Error>>();
    let mut request = Request::post(path).body(Body::from_stream(nothing)).unwrap();
    if let Some(length) = length {
        request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    router.oneshot(request).await.unwrap().status()
}

/// The router as everybody at this address reaches it.
fn from(router: &Router, peers: &Peers, address: &str) -> Router {
    let address: IpAddr = address.parse().unwrap();
    router.clone().layer(axum::Extension(Arc::new(peers.place(address).unwrap())))
}

#[tokio::test]
async fn who_sends_slowly_or_without_end_holds_nobodys_turn() {
    let world = World::new().await;
    let router = service(world.store.clone(), Arc::clone(&world.replica.view), Some(policy()));
    tokio::time::pause();
    for path in PATHS {
        let begin = Instant::now();
        // Of those that say how much will come, and of those that don't, more than there are turns for.
        let lengths = (0..100).flat_map(|_| [Some(1000), None]);
        let others = join_all(lengths.map(|length| stalled(router.clone(), path, length)));
        let good = async {
            tokio::task::yield_now().await;
            // From the same address, as far as anybody can tell.
            let (status, answer) = post(&router, path, pod(0)).await;
            assert_eq!(status, StatusCode::OK, "{path}: {answer}");
            begin.elapsed()
        };
        let (others, took) = tokio::join!(others, good);
        assert_eq!(took, Duration::ZERO, "{path}");
        assert!(begin.elapsed() < Duration::from_secs(6), "{path}: {:?}", begin.elapsed());
        let refused = [StatusCode::REQUEST_TIMEOUT, StatusCode::SERVICE_UNAVAILABLE];
        assert!(others.iter().all(|status| refused.contains(status)), "{path}: {others:?}");
    }
}

#[tokio::test]
async fn an_address_that_sends_much_and_slowly_keeps_no_other_waiting() {
    let world = World::new().await;
    let router = service(world.store.clone(), Arc::clone(&world.replica.view), Some(policy()));
    let peers = Peers::default();
    let (greedy, other) = (from(&router, &peers, "10.0.0.1"), from(&router, &peers, "10.0.0.2"));
    tokio::time::pause();
    for path in PATHS {
        let lengths = (0..200).flat_map(|_| [Some(1000), Some(100 << 10), Some(BODY_LIMIT), None]);
        let stalled = join_all(lengths.map(|length| stalled(greedy.clone(), path, length)));
        let others = async {
            tokio::task::yield_now().await;
            let begin = Instant::now();
            for padding in [0, 100 << 10, 1 << 20, 3 << 20] {
                let (status, answer) = post(&other, path, pod(padding)).await;
                assert_eq!(status, StatusCode::OK, "{path}: {answer}");
            }
            assert_eq!(begin.elapsed(), Duration::ZERO, "{path}");
        };
        tokio::join!(stalled, others);
    }
}
