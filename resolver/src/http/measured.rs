//! GET of `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use knap_protocol::ProblemKind;

use super::Service;
use super::problem::Failure;
use crate::metrics::MEDIA_TYPE;
use crate::store::Store;

pub(super) async fn metrics<S: Store>(State(service): State<Arc<Service<S>>>) -> Response {
    match service.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Err(error) => Failure::new(ProblemKind::Internal, error.to_string()).into_response(),
    }
}
