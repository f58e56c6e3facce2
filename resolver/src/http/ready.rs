//! GET of `/healthz` and `/readyz`, for whoever decides whether this process lives and gets requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use knap_protocol::ProblemKind;
use parking_lot::Mutex;

use super::Service;
use super::problem::Failure;
use crate::store::Store;
use crate::view::View;

/// What is known of readiness beside the view.
#[derive(Debug, Default)]
pub struct Readiness {
    ending: AtomicBool,
    trouble: Mutex<Option<String>>,
    /// What is not there, with the reason.
    lacking: Mutex<BTreeMap<&'static str, String>>,
}

impl Readiness {
    /// From now on it is not ready any more, though requests are still answered.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// What keeps the view from being complete, as a person has to know it.
    pub fn troubled(&self, trouble: Option<String>) {
        *self.trouble.lock() = trouble;
    }

    /// Why there is none of what requests need, a certificate say; no reason if there is.
    pub fn lacks(&self, what: &'static str, reason: Option<String>) {
        let mut lacking = self.lacking.lock();
        match reason {
            Some(reason) => lacking.insert(what, reason),
            None => lacking.remove(what),
        };
    }

    /// Why it is not ready, if it is not.
    pub(crate) fn unready(&self, view: &View) -> Option<String> {
        if self.ending.load(Ordering::Relaxed) {
            return Some("this resolver is ending".to_owned());
        }
        let untold = view.untold();
        if untold.is_empty() {
            let lacking = self.lacking.lock();
            return lacking.first_key_value().map(|(what, reason)| format!("no {what}: {reason}"));
        }
        let trouble = self.trouble.lock().clone();
        Some(trouble.unwrap_or_else(|| format!("still reading all {}", untold.join(", "))))
    }
}

/// It runs, and answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Requests may come: what it knows is complete, and it is not about to end.
pub(super) async fn readyz<S: Store>(State(service): State<Arc<Service<S>>>) -> Response {
    match service.readiness.unready(&service.view) {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// Refuses what needs a complete view while there is none.
pub(super) async fn require_view<S: Store>(
    State(service): State<Arc<Service<S>>>,
    request: Request,
    next: Next,
) -> Response {
    if service.view.is_current() {
        return next.run(request).await;
    }
    let reason = service.readiness.unready(&service.view).unwrap_or_default();
    Failure::new(ProblemKind::Unavailable, format!("the resolver is starting: {reason}")).into_response()
}
