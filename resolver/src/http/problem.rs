//! Every error leaves as a problem document (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use knap_protocol::{Problem, ProblemKind};

use crate::decision::DecisionId;

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Problem);

impl Failure {
    /// A failure that no decision was made for yet.
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self(kind.problem(DecisionId::next().as_str(), detail))
    }

    /// A failure with an HTTP status of its own, where CNI has no word for the difference.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or_default().to_lowercase();
        Self(Problem { status: status.as_u16(), title, ..self.0 })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, Problem::MEDIA_TYPE)], body).into_response()
    }
}
