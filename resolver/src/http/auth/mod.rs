//! Who may call: nodes what is theirs, readers what they may read. The service's [`Authority`] decides.

mod authority;

use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use knap_protocol::ProblemKind;

pub use authority::{Authority, Denied};

use super::Service;
use super::problem::Failure;
use crate::decision::DecisionId;
use crate::store::Store;

/// Lets a request pass that comes from the node that its path names.
pub(super) async fn require_node<S: Store>(
    State(service): State<Arc<Service<S>>>,
    parameters: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    match service.authority.admit_node(bearer(request.headers()), node_of(&parameters)).await {
        Ok(()) => next.run(request).await,
        Err(denied) => service.deny(&denied, &request).into_response(),
    }
}

/// The node that a path names. Empty where it names none: that is never one.
pub(super) fn node_of(parameters: &RawPathParams) -> &str {
    parameters.iter().find(|(name, _)| *name == "node").map_or("", |(_, node)| node)
}

/// Lets a request pass whose sender may read what is at its path.
pub(super) async fn require_reader<S: Store>(
    State(service): State<Arc<Service<S>>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    match service.authority.admit_reader(bearer(request.headers()), path).await {
        Ok(()) => next.run(request).await,
        Err(denied) => service.deny(&denied, &request).into_response(),
    }
}

/// The bearer token (RFC 6750). Empty where there is none: that is never one.
pub(super) fn bearer(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => b"",
    }
}

/// A request that is not served, because of who sent it.
pub(super) struct Denial {
    failure: Failure,
    challenge: Option<&'static str>,
}

impl<S: Store> Service<S> {
    /// Counts and logs a denial, and makes its answer.
    pub(super) fn deny(&self, denied: &Denied, request: &Request) -> Denial {
        let (path, shown) = (request.uri().path(), !bearer(request.headers()).is_empty());
        let id = DecisionId::next();
        let Denied { kind, reason, detail } = denied;
        tracing::info!(%id, method = %request.method(), path, reason, detail, "denied");
        self.metrics.requests.denied(reason);
        let challenge = (*kind == ProblemKind::Unauthorized).then_some(match shown {
            true => r#"Bearer realm="knap-resolver", error="invalid_token""#,
            false => r#"Bearer realm="knap-resolver""#,
        });
        Denial { failure: Failure(kind.problem(id.as_str(), detail)), challenge }
    }
}

impl IntoResponse for Denial {
    fn into_response(self) -> Response {
        let mut response = self.failure.into_response();
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
