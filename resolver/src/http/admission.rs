//! POST of admission reviews. The API server, which asks, has no credential of ours to show; so nothing is told here but
//! what its users may hear.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router, middleware};
use knap_protocol::ProblemKind;

use super::problem::Failure;
use super::{Service, ready};
use crate::admission::{Answer, Question, Subject, answer};
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
    let body = body.map_err(|rejection| {
        Failure::new(ProblemKind::BadRequest, format!("can't read the review: {rejection}"))
            .with_status(rejection.status())
    })?;
    let question =
        Question::read(&body).map_err(|error| Failure::new(ProblemKind::BadRequest, error.to_string()))?;
    let read = policy.read(&service.store, &service.view, subject, &question);
    let read = tokio::time::timeout(READING, read).await.map_err(|_| unread("no word in time"))?;
    let read = read.map_err(|error| unread(&error.to_string()))?;
    let verdict = policy.decide(&service.view, subject, &question, &read).await;
    if let Some(why) = &verdict.refused {
        tracing::info!(?subject, uid = question.uid, why, "refused");
    }
    Ok(Json(answer(&question, &verdict)))
}

fn unread(why: &str) -> Failure {
    Failure::new(
        ProblemKind::Unavailable,
        format!("can't read the Networks that the pod names, or its namespace: {why}; try again"),
    )
}

#[cfg(test)]
mod tests;
