//! PUT of a node's inventory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use knap_protocol::{InvalidName, Inventory, NodeName, ProblemKind};

use super::Service;
use super::extract::{Body, Segments};
use super::problem::Failure;
use crate::causes::with_causes;
use crate::metrics::Call;
use crate::nodes::{InventoryError, put_inventory};
use crate::store::{Store, StoreError};

/// The longest that an agent may wait for the answer.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn put<S: Store>(
    State(service): State<Arc<Service<S>>>,
    Segments(node): Segments<String>,
    Body(inventory): Body<Inventory>,
) -> Result<StatusCode, Failure> {
    let node: NodeName = node
        .parse()
        .map_err(|error: InvalidName| Failure::new(ProblemKind::BadRequest, error.to_string()))?;
    let began = Instant::now();
    let put = put_inventory(&service.store, &service.view, &node, &inventory);
    let outcome = match tokio::time::timeout(PATIENCE, put).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err((kind(&error), with_causes(&error))),
        Err(_) => Err((
            ProblemKind::Unavailable,
            format!("the inventory of node {node} could not be written in {} s", PATIENCE.as_secs()),
        )),
    };
    let problem = outcome.as_ref().err().map(|(kind, _)| *kind);
    service.metrics.requests.answered(Call::Inventory, problem, began.elapsed());
    outcome.map(|()| StatusCode::NO_CONTENT).map_err(|(kind, detail)| Failure::new(kind, detail))
}

const fn kind(error: &InventoryError) -> ProblemKind {
    match error.source {
        StoreError::Refused { .. } => ProblemKind::Unprocessable,
        _ => ProblemKind::Unavailable,
    }
}
