//! POST by a node's agent: what the cluster gave its pod, for what the resolver takes from its node.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use super::Service;
use super::auth::bearer;
use super::extract::Segments;
use crate::metrics::Call;
use crate::store::Store;

pub(super) async fn exchange<S: Store>(
    State(service): State<Arc<Service<S>>>,
    Segments(node): Segments<String>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let answer = service.authority.exchange(bearer(request.headers()), &node).await;
    let problem = answer.as_ref().err().map(|denied| denied.kind);
    service.metrics.requests.answered(Call::Credentials, problem, began.elapsed());
    match answer {
        Ok(credentials) => {
            tracing::info!(node, seconds = credentials.expires_in_seconds, "a node has a new token");
            Json(credentials).into_response()
        }
        Err(denied) => service.deny(&denied, &request).into_response(),
    }
}
