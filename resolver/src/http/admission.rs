//! POST of admission reviews. The API server, which asks, has no credential of ours to show; so nothing is told here but
//! what its users may hear.

mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router, middleware};
use knap_protocol::ProblemKind;
use tokio::time::timeout;

use self::turns::{TurnError, Turns};
use super::problem::Failure;
use super::{Service, ready};
use crate::admission::{Answer, Policy, Question, ReviewError, Subject, Verdict, answer};
use crate::metrics::Reviewed;
use crate::store::Store;
use crate::view::View;

/// Bytes of a review: an object of 1.5 MB, which is all that etcd takes, before and after, and what goes with it.
const BODY_LIMIT: usize = 8 << 20;

/// For reading what the view does not know, at most.
const LONGEST_READING: Duration = Duration::from_secs(5);

/// For reading what the view does not know: half of what the API server has, by the `timeout` that it adds to the URL.
fn reading(subject: Subject, query: &str) -> Duration {
    let has =
        query.split('&').find_map(|pair| pair.strip_prefix("timeout=")?.strip_suffix('s')?.parse().ok());
    let usual = match subject {
        Subject::Pod | Subject::Launcher => 1,
        _ => 4,
    };
    (Duration::from_secs(has.unwrap_or(usual)) / 2).min(LONGEST_READING)
}

/// For a decision: the API server waits no longer for any.
const DECIDING: Duration = Duration::from_secs(10);

/// The paths that webhooks name.
pub(super) fn router<S: Store>(service: &Arc<Service<S>>) -> Router<Arc<Service<S>>> {
    Router::new()
        .route("/admission/networks", post(networks::<S>))
        .route("/admission/networkclasses", post(classes::<S>))
        .route("/admission/pods", post(pods::<S>))
        .route("/admission/launchers", post(launchers::<S>))
        .route("/admission/attachments", post(attachments::<S>))
        // A picture that is not complete would let everything pass.
        .layer(middleware::from_fn_with_state(Arc::clone(service), ready::require_view::<S>))
}

async fn networks<S: Store>(
    service: State<Arc<Service<S>>>,
    request: Request,
) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::Network, request).await
}

async fn classes<S: Store>(
    service: State<Arc<Service<S>>>,
    request: Request,
) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::NetworkClass, request).await
}

async fn pods<S: Store>(service: State<Arc<Service<S>>>, request: Request) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::Pod, request).await
}

async fn launchers<S: Store>(
    service: State<Arc<Service<S>>>,
    request: Request,
) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::Launcher, request).await
}

async fn attachments<S: Store>(
    service: State<Arc<Service<S>>>,
    request: Request,
) -> Result<Json<Answer>, Failure> {
    review(&service, Subject::Attachment, request).await
}

/// How admission reviews are answered.
pub struct Admission<S> {
    policy: Policy,
    /// For what the view does not know. Anybody can cause such reads, so they should take the turns of no others.
    store: S,
    turns: Turns,
}

impl<S> Admission<S> {
    /// By a policy, and this store.
    pub fn new(policy: Policy, store: S) -> Self {
        Self { policy, store, turns: Turns::default() }
    }
}

async fn review<S: Store>(
    service: &Service<S>,
    subject: Subject,
    request: Request,
) -> Result<Json<Answer>, Failure> {
    let Some(admission) = &service.admission else {
        let detail = "there is no admission without a cluster";
        return Err(Failure::new(ProblemKind::BadRequest, detail).with_status(StatusCode::NOT_FOUND));
    };
    let began = Instant::now();
    let reviewed = admission.judge(&service.view, subject, request).await;
    let outcome = match &reviewed {
        Ok((_, verdict)) => {
            verdict.refused.as_ref().map_or(Reviewed::Allowed, |refused| Reviewed::Denied(refused.reason))
        }
        Err(unanswered) if unanswered.is_the_askers_fault() => Reviewed::Malformed,
        Err(_) => Reviewed::Failed,
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
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// It got no turn, or did not come.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] ReviewError),
    /// What it asks about could not be read.
    #[error("can't read a Network, a class or a namespace that this depends on: {0}; try again")]
    Unread(String),
    /// It may ask for what is the cluster's own.
    #[error("it is not known yet which networks the cluster itself uses; try again")]
    Unknown,
    /// It is about more than can be looked at while somebody waits.
    #[error("it takes too long to say what this would do; try again")]
    Undecided,
}

impl Unanswered {
    /// By which the caller knows what to do.
    fn status(&self) -> StatusCode {
        match self {
            Self::Turn(TurnError::Body(error)) => error.status(),
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Turn(TurnError::Busy) | Self::Unread(_) | Self::Unknown | Self::Undecided => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    fn is_the_askers_fault(&self) -> bool {
        self.status().is_client_error()
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        let (status, detail) = (unanswered.status(), unanswered.to_string());
        if unanswered.is_the_askers_fault() {
            return Self::new(ProblemKind::BadRequest, detail).with_status(status);
        }
        Self::new(ProblemKind::Unavailable, detail)
    }
}

impl<S: Store> Admission<S> {
    async fn judge(
        &self,
        view: &Arc<View>,
        subject: Subject,
        request: Request,
    ) -> Result<(Question, Verdict), Unanswered> {
        let reading = reading(subject, request.uri().query().unwrap_or_default());
        let (body, _turn) = self.turns.body(subject, request).await?;
        let question = Question::read(&body)?;
        if Policy::minds_cluster_networks(subject, &question) && !view.knows_cluster_networks() {
            return Err(Unanswered::Unknown);
        }
        let _beside = self.turns.decision(subject).await?;
        let read = timeout(reading, self.policy.read(&self.store, view, subject, &question)).await;
        let read = read.map_err(|_| Unanswered::Unread("no word in time".to_owned()))?;
        let read = read.map_err(|error| Unanswered::Unread(error.to_string()))?;
        let decided = timeout(DECIDING, self.policy.decide(view, subject, &question, &read)).await;
        Ok((question, decided.map_err(|_| Unanswered::Undecided)?))
    }
}

#[cfg(test)]
mod tests;
