//! What one node sends takes nothing from others.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use futures::future::join_all;
use futures::stream;
use knap_protocol::Problem;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::ServiceExt;

use super::super::{ATTACH_LIMIT, BODY_LIMIT, serve};
use super::{ATTACHMENT, Api, request};

fn ledger_of(node: &str) -> String {
    format!("/v1/nodes/{node}/attachments:reconcile")
}

/// An empty ledger, and so many bytes more.
fn ledger(padding: usize) -> String {
    json!({"bootID": "b1", "entries": [], "later": "x".repeat(padding)}).to_string()
}

/// What is answered to a body that says how long it is.
async fn sent(api: &Api, method: Method, path: &str, length: usize, body: Body) -> (StatusCode, Vec<u8>) {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::AUTHORIZATION, format!("Bearer {}", api.token));
    let request = request.header(header::CONTENT_LENGTH, length).body(body).unwrap();
    let response = api.router.clone().oneshot(request).await.unwrap();
    (response.status(), to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

/// What is answered to a body of which nothing comes.
async fn stalled(api: &Api, method: Method, path: &str, length: usize) -> Problem {
    let nothing = Body::from_stream(stream::pending::<Result<Bytes, io::Error>>());
    let answered = tokio::time::timeout(Duration::from_secs(20), sent(api, method, path, length, nothing));
    let (_, body) = answered.await.unwrap_or_else(|_| panic!("{path} waits without end"));
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_node_that_sends_much_and_slowly_waits_for_itself() {
    let api = Api::new().await;
    tokio::time::pause();
    let begin = Instant::now();
    let path = ledger_of("n1");
    let greedy = join_all((0..20).map(|_| stalled(&api, Method::POST, &path, BODY_LIMIT)));
    let others = async {
        tokio::task::yield_now().await;
        for (node, padding) in [("n1", 1 << 10), ("n2", 1 << 10), ("n2", 200 << 10), ("n2", 3 << 20)] {
            let body = ledger(padding);
            let (status, answer) = sent(&api, Method::POST, &ledger_of(node), body.len(), body.into()).await;
            assert_eq!(status, StatusCode::OK, "{node}: {}", String::from_utf8_lossy(&answer));
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    };
    let (greedy, ()) = tokio::join!(greedy, others);
    assert_eq!(greedy.iter().filter(|problem| problem.status == 408).count(), 1, "{greedy:?}");
    assert_eq!(greedy.iter().filter(|problem| problem.status == 503).count(), 19, "{greedy:?}");
    assert!(greedy.iter().all(|problem| problem.retryable && problem.detail.contains("try again")));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let api = Api::new().await;
    tokio::time::pause();
    let paths = [
        (Method::PUT, ATTACHMENT.to_owned()),
        (Method::PUT, "/v1/nodes/n1/inventory".to_owned()),
        (Method::POST, ledger_of("n1")),
    ];
    for (method, path) in paths {
        let problem = stalled(&api, method, &path, 1000).await;
        assert!(problem.status == 408 && problem.retryable && problem.detail.contains("10 s"), "{problem:?}");
    }
}

#[tokio::test]
async fn what_asks_for_an_attachment_is_small() {
    let api = Api::new().await;
    let asking = |padding| request(&json!({"args": {"x": "y".repeat(padding)}}));
    let problem = api.call(Method::PUT, ATTACHMENT, &asking(ATTACH_LIMIT)).await.problem();
    assert!(
        problem.status == 413 && problem.detail.contains(&format!("{ATTACH_LIMIT} bytes")),
        "{problem:?}"
    );
    let problem = api.call(Method::PUT, ATTACHMENT, &asking(ATTACH_LIMIT - 1024)).await.problem();
    assert_eq!(problem.status, 404, "{problem:?}");
}

#[tokio::test]
async fn a_head_is_small() {
    let api = Api::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serving = serve(listener, None, api.router.clone(), std::future::pending(), Duration::ZERO);
    let serving = tokio::spawn(serving);
    for (padding, status) in [(1 << 10, "200"), (16 << 10, "200"), (256 << 10, "431")] {
        let mut caller = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(padding));
        // It may be refused before all of it is sent.
        let _ = caller.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        caller.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"), "{padding}");
    }
    serving.abort();
}
