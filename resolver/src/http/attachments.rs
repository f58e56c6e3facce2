//! PUT, DELETE and reconcile: the plugin's three questions.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use knap_protocol::{
    AttachReply, AttachRequest, Attempt, InvalidName, NodeName, Problem, ProblemKind, ReconcileReply,
    ReconcileRequest,
};
use serde::Deserialize;

use super::Service;
use super::extract::{Body, OnNode, Parameters, Segments};
use super::problem::Failure;
use crate::attach::{Asker, Refusal};
use crate::decision::DecisionId;
use crate::metrics::Call;
use crate::store::Store;

/// More leases than any attachment has.
const MOST_LEASES: usize = 16;

pub(super) async fn attach<S: Store>(
    State(service): State<Arc<Service<S>>>,
    OnNode { node, key }: OnNode,
    Body(request): Body<AttachRequest>,
) -> Result<Json<AttachReply>, Failure> {
    let id = DecisionId::next();
    let asker = Asker { node: &node, key: &key };
    let began = Instant::now();
    let answer = service.attacher.attach(&id, asker, &request).await;
    service.answered(Call::Attach, answer.as_ref().err(), began);
    if let Err(Refusal::Identity(error)) = &answer {
        service.metrics.requests.denied(error.reason());
    }
    answer.map(Json).map_err(|refusal| failure(&id, &refusal))
}

/// What makes a DELETE safe: whose lease it is, and its name where it is known.
#[derive(Debug, Deserialize)]
pub(super) struct ReleaseParameters {
    attempt: String,
    /// Comma-separated.
    #[serde(default)]
    lease: String,
}

pub(super) async fn release<S: Store>(
    State(service): State<Arc<Service<S>>>,
    OnNode { node, key }: OnNode,
    Parameters(parameters): Parameters<ReleaseParameters>,
) -> Result<StatusCode, Failure> {
    let attempt: Attempt =
        parameters.attempt.parse().map_err(|error: InvalidName| bad_request(error.to_string()))?;
    let names = parameters.lease.split(',').filter(|name| !name.is_empty());
    let leases: Vec<String> = names.map(str::to_owned).collect();
    if leases.len() > MOST_LEASES {
        return Err(bad_request(format!("{} leases are named; an attachment has two at most", leases.len())));
    }
    let id = DecisionId::next();
    let asker = Asker { node: &node, key: &key };
    let began = Instant::now();
    let answer = service.attacher.release(&id, asker, &attempt, &leases).await;
    service.answered(Call::Release, answer.as_ref().err(), began);
    answer.map(|()| StatusCode::NO_CONTENT).map_err(|refusal| failure(&id, &refusal))
}

pub(super) async fn reconcile<S: Store>(
    State(service): State<Arc<Service<S>>>,
    Segments(node): Segments<String>,
    Body(request): Body<ReconcileRequest>,
) -> Result<Json<ReconcileReply>, Failure> {
    let node: NodeName = node.parse().map_err(|error: InvalidName| bad_request(error.to_string()))?;
    let began = Instant::now();
    let reply = service.attacher.reconcile(&node, &request).await;
    service.answered(Call::Reconcile, reply.as_ref().err(), began);
    if let Ok(reply) = &reply {
        service.metrics.requests.reconciled(reply);
    }
    reply.map(Json).map_err(|refusal| failure(&DecisionId::next(), &refusal))
}

impl<S> Service<S> {
    fn answered(&self, call: Call, refusal: Option<&Refusal>, began: Instant) {
        self.metrics.requests.answered(call, refusal.map(Refusal::kind), began.elapsed());
    }
}

fn failure(id: &DecisionId, refusal: &Refusal) -> Failure {
    let problem = refusal.kind().problem(id.as_str(), refusal.to_string());
    Failure(Problem { unsettled: refusal.is_unsettled(), ..problem })
}

fn bad_request(detail: String) -> Failure {
    Failure::new(ProblemKind::BadRequest, detail)
}
