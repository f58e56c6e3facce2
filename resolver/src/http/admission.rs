//! POST of admission reviews. The API server, which asks, has no credential of ours to show; so nothing is told here but
//! what its users may hear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router, middleware};
use knap_protocol::ProblemKind;

use super::problem::Failure;
use super::{Service, ready};
use crate::admission::{Answer, Policy, Question, Subject, Verdict, answer};
use crate::metrics::Reviewed;
use crate::store::Store;

/// Bytes of a review: an object of 1.5 MB, which is all that etcd takes, before and after, and what goes with it.
const BODY_LIMIT: usize = 8 << 20;

/// For reading what the view does not know: the API server waits a second for the answer about a pod.
const READING: Duration = Duration::from_millis(500);

/// The paths that webhooks name.
pub(super) fn router<S: Store>(service: &Arc<Service<S>>) -> Router<Arc<Service<S>>> {
    Router::new()
        .route("/admission/networks", post(networks::<S>))
        .route("/admission/networkclasses", post(classes::<S>))
        .route("/admission/pods", post(pods::<S>))
        .route("/admission/launchers", post(launchers::<S>))
        .route("/admission/attachments", post(attachments::<S>))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        // A picture that is not complete would let everything pass.
        .layer(middleware::from_fn_with_state(Arc::clone(service), ready::require_view::<S>))
}

async fn networks<S: Store>(service: State<Arc<Service<S>>>, body: Body) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::Network, body).await
}

async fn classes<S: Store>(service: State<Arc<Service<S>>>, body: Body) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::NetworkClass, body).await
}

async fn pods<S: Store>(service: State<Arc<Service<S>>>, body: Body) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::Pod, body).await
}

async fn launchers<S: Store>(service: State<Arc<Service<S>>>, body: Body) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::Launcher, body).await
}

async fn attachments<S: Store>(service: State<Arc<Service<S>>>, body: Body) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::Attachment, body).await
}

type Body = Result<Bytes, BytesRejection>;

async fn review<S: Store>(
    service: &Service<S>,
    subject: Subject,
    body: Body,
) -> Result<Json<Answer>, Failure> {
    let Some(policy) = &service.admission else {
        let detail = "there is no admission without a cluster";
        return Err(Failure::new(ProblemKind::BadRequest, detail).with_status(StatusCode::NOT_FOUND));
    };
    let began = Instant::now();
    let reviewed = judge(service, policy, subject, body).await;
    let outcome = match &reviewed {
        Ok((_, verdict)) => {
            verdict.refused.as_ref().map_or(Reviewed::Allowed, |refused| Reviewed::Denied(refused.reason))
        }
        Err(Unanswered::Malformed(_)) => Reviewed::Malformed,
        Err(Unanswered::Unread(_)) => Reviewed::Failed,
    };
    service.metrics.reviews.answered(subject.webhook(), outcome, began.elapsed());
    let (question, verdict) = reviewed.map_err(Failure::from)?;
    if let Some(refused) = &verdict.refused {
        tracing::info!(
            webhook = subject.webhook(),
            uid = question.uid,
            reason = refused.reason,
            why = refused.message,
            "refused"
        );
    }
    Ok(Json(answer(&question, &verdict)))
}

/// Why a review has no answer.
enum Unanswered {
    Malformed(Failure),
    /// What it asks about could not be read.
    Unread(String),
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Malformed(failure) => failure,
            Unanswered::Unread(why) => Self::new(
                ProblemKind::Unavailable,
                format!("can't read the Networks that the pod names, or its namespace: {why}; try again"),
            ),
        }
    }
}

async fn judge<S: Store>(
    service: &Service<S>,
    policy: &Policy,
    subject: Subject,
    body: Body,
) -> Result<(Question, Verdict), Unanswered> {
    let malformed = |detail| Failure::new(ProblemKind::BadRequest, detail);
    let body = body.map_err(|rejection| {
        let failure = malformed(format!("can't read the review: {rejection}"));
        Unanswered::Malformed(failure.with_status(rejection.status()))
    })?;
    let question =
        Question::read(&body).map_err(|error| Unanswered::Malformed(malformed(error.to_string())))?;
    let read = policy.read(&service.store, &service.view, subject, &question);
    let read = tokio::time::timeout(READING, read).await;
    let read = read.map_err(|_| Unanswered::Unread("no word in time".to_owned()))?;
    let read = read.map_err(|error| Unanswered::Unread(error.to_string()))?;
    let verdict = policy.decide(&service.view, subject, &question, &read).await;
    Ok((question, verdict))
}

#[cfg(test)]
mod tests;
