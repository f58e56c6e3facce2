//! Who may call: every request but the one for the status carries the token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use knap_protocol::ProblemKind;

use super::Service;
use super::problem::Failure;
use crate::store::Store;

/// Lets a request pass that carries the token of the file as a bearer token (RFC 6750).
pub(super) async fn require_token<S: Store>(
    State(service): State<Arc<Service<S>>>,
    request: Request,
    next: Next,
) -> Response {
    match service.token.matches(given(&request)) {
        Ok(true) => next.run(request).await,
        Ok(false) => {
            let detail = "the request does not carry the resolver's token: send Authorization: Bearer with the content \
                          of the token file";
            let mut response = Failure::new(ProblemKind::Unauthorized, detail).into_response();
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "can't check the token of a request");
            Failure::new(ProblemKind::Unavailable, error.to_string()).into_response()
        }
    }
}

/// Empty where there is none: that is never the token.
fn given(request: &Request) -> &[u8] {
    let value = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => b"",
    }
}
