//! The HTTP API (design: the wire), over whatever store the service runs on.

mod admission;
mod attachments;
mod auth;
mod bodies;
mod credentials;
mod extract;
mod inventory;
mod measured;
mod peers;
mod problem;
mod ready;
mod serve;
mod status;
mod token_file;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{any, get, post, put};
use knap_protocol::{ProblemKind, path};

pub use admission::Admission;
pub use auth::{Authority, Denied};
pub use ready::Readiness;
pub use serve::serve;
pub use token_file::{TokenFile, TokenFileError};

use crate::attach::Attacher;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::view::View;
use bodies::{Bodies, Bounds};
use problem::Failure;

/// Bytes of a body: a ledger of ten thousand attachments is one.
const BODY_LIMIT: usize = 4 << 20;
/// Bytes of one that asks for an attachment.
const ATTACH_LIMIT: usize = 64 << 10;
/// Of the largest, a node has one under way, and all nodes together four. What is read may take forty times as much: lists of lists,
/// which nobody needs.
const OF_NODES: Bounds = Bounds {
    // A node may ask for as many attachments at once as it has connections, each in less.
    free: 4 << 10,
    whole: 4 * BODY_LIMIT,
    share: BODY_LIMIT,
    // A node does not wait longer for an answer to its ledger.
    sending: Duration::from_secs(10),
};

/// Everything that requests are answered from.
pub struct Service<S> {
    /// Where objects live.
    pub store: S,
    /// The picture of it.
    pub view: Arc<View>,
    /// Makes and releases attachments.
    pub attacher: Attacher<S>,
    /// What is measured.
    pub metrics: Metrics,
    /// How admission reviews are answered, in a cluster.
    pub admission: Option<Admission<S>>,
    /// Who may call.
    pub authority: Box<dyn Authority>,
    /// Whether requests may come, beside what the view says.
    pub readiness: Arc<Readiness>,
    /// `embedded` or `kubernetes`.
    pub store_name: &'static str,
    /// Manifest files that could not be read, with the reason.
    pub broken_manifests: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// Every path of the API.
pub fn router<S: Store>(service: Arc<Service<S>>) -> Router {
    Router::new()
        .route(path::STATUS, get(status::status::<S>))
        .route("/healthz", get(ready::healthz))
        .route("/readyz", get(ready::readyz::<S>))
        .route("/v1/nodes/{node}/credentials", post(credentials::exchange::<S>))
        .merge(admission::router(&service))
        .method_not_allowed_fallback(wrong_method)
        .merge(of_nodes(&service))
        .fallback_service(of_readers(&service).with_state(Arc::clone(&service)))
        .with_state(service)
}

/// What a node may ask, each of what is its own.
fn of_nodes<S: Store>(service: &Arc<Service<S>>) -> Router<Arc<Service<S>>> {
    let bodies = Arc::new(Bodies::new(OF_NODES));
    let read = |most| middleware::from_fn_with_state((Arc::clone(&bodies), most), bodies::of_node);
    Router::new()
        .route(
            "/v1/nodes/{node}/attachments/{container}/{ifname}",
            put(attachments::attach::<S>).route_layer(read(ATTACH_LIMIT)).delete(attachments::release::<S>),
        )
        .route(
            "/v1/nodes/{node}/attachments:reconcile",
            post(attachments::reconcile::<S>).route_layer(read(BODY_LIMIT)),
        )
        .route("/v1/nodes/{node}/inventory", put(inventory::put::<S>).route_layer(read(BODY_LIMIT)))
        .route("/v1/nodes/{node}/{*unknown}", any(unknown_path))
        .method_not_allowed_fallback(wrong_method)
        // Each path has a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(service), ready::require_view::<S>))
        .layer(middleware::from_fn_with_state(Arc::clone(service), auth::require_node::<S>))
}

/// What people and tools may read; and what there is not, which is nobody's business without a credential.
fn of_readers<S: Store>(service: &Arc<Service<S>>) -> Router<Arc<Service<S>>> {
    Router::new()
        .route("/v1/networks", get(views::networks::<S>))
        .route("/v1/networks/{namespace}/{name}", get(views::network::<S>))
        .route("/v1/attachments", get(views::attachments::<S>))
        .route("/metrics", get(measured::metrics::<S>))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(service), ready::require_view::<S>))
        .layer(middleware::from_fn_with_state(Arc::clone(service), auth::require_reader::<S>))
}

async fn unknown_path(uri: axum::http::Uri) -> Failure {
    let detail = format!("there is no {} here: this resolver serves /v1", uri.path());
    Failure::new(ProblemKind::BadRequest, detail).with_status(StatusCode::NOT_FOUND)
}

async fn wrong_method(method: axum::http::Method, uri: axum::http::Uri) -> Failure {
    let detail = format!("{} does not take {method}", uri.path());
    Failure::new(ProblemKind::BadRequest, detail).with_status(StatusCode::METHOD_NOT_ALLOWED)
}

#[cfg(test)]
mod tests;
