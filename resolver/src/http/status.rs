//! GET of the status: is the resolver there, and does it serve. Like `/healthz`, `/readyz` and `/admission/*`, without a token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use knap_protocol::StatusView;

use super::Service;
use crate::provision::is_ready;
use crate::store::Store;

pub(super) async fn status<S: Store>(State(service): State<Arc<Service<S>>>) -> Json<StatusView> {
    let networks = service.view.networks.all();
    Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: service.store_name.to_owned(),
        ready: service.view.is_current(),
        networks: networks.len(),
        networks_ready: networks.iter().filter(|network| is_ready(network)).count(),
        leases: service.view.leases.len(),
        broken_manifests: (service.broken_manifests)(),
    })
}
