//! What people and tools read: Networks from the view, attachments from the store.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use knap_api::{NETWORK_NAMESPACE_LABEL, Network, NetworkLease};
use knap_protocol::{
    AttachmentKey, AttachmentView, InvalidName, NetworkName, NetworkView, PodRef, ProblemKind, SubnetView,
};
use kube::ResourceExt;
use serde::Deserialize;

use super::Service;
use super::extract::{Parameters, Segments};
use super::problem::Failure;
use crate::provision::{READY, condition, is_ready, subnets_in_use};
use crate::store::{Labels, Store};
use crate::view::View;

pub(super) async fn networks<S: Store>(State(service): State<Arc<Service<S>>>) -> Json<Vec<NetworkView>> {
    let networks = service.view.networks.all();
    let mut views: Vec<_> = networks.iter().filter_map(|network| view_of(&service.view, network)).collect();
    views.sort_by(|a, b| a.network.cmp(&b.network));
    Json(views)
}

pub(super) async fn network<S: Store>(
    State(service): State<Arc<Service<S>>>,
    Segments((namespace, name)): Segments<(String, String)>,
) -> Result<Json<NetworkView>, Failure> {
    let name = NetworkName::new(&namespace, &name).map_err(|error| bad_name(&error))?;
    let network = known(&service.view, &name)?;
    view_of(&service.view, &network).map(Json).ok_or_else(|| unknown(&name))
}

/// Of which Network; of all where absent.
#[derive(Debug, Deserialize)]
pub(super) struct OfNetwork {
    #[serde(default)]
    network: Option<String>,
}

pub(super) async fn attachments<S: Store>(
    State(service): State<Arc<Service<S>>>,
    Parameters(parameters): Parameters<OfNetwork>,
) -> Result<Json<Vec<AttachmentView>>, Failure> {
    let mut labels = Labels::new();
    let wanted: Option<NetworkName> =
        parameters.network.map(|name| name.parse()).transpose().map_err(|error| bad_name(&error))?;
    if let Some(name) = &wanted {
        // By name, not by the Network's UID: what outlives a removed Network is what a person looks for.
        labels.insert(NETWORK_NAMESPACE_LABEL.to_owned(), Some(name.namespace().to_owned()));
    }
    let leases = service.store.list::<NetworkLease>(&labels).await;
    let leases = leases.map_err(|error| Failure::new(ProblemKind::Unavailable, error.to_string()))?;
    let mut views: Vec<_> = leases.iter().flat_map(attachments_of).collect();
    if let Some(name) = wanted {
        views.retain(|view| view.network == name);
        if views.is_empty() {
            known(&service.view, &name)?;
        }
    }
    views.sort_by(|a, b| (&a.network, &a.lease).cmp(&(&b.network, &b.lease)));
    Ok(Json(views))
}

fn known(view: &View, name: &NetworkName) -> Result<Arc<Network>, Failure> {
    view.network(name).ok_or_else(|| unknown(name))
}

fn unknown(name: &NetworkName) -> Failure {
    Failure::new(ProblemKind::UnknownNetwork, format!("Network {name} does not exist"))
}

fn bad_name(error: &InvalidName) -> Failure {
    Failure::new(ProblemKind::BadRequest, error.to_string())
}

/// Counts are those of now; the rest is as the status has it.
fn view_of(view: &View, network: &Network) -> Option<NetworkView> {
    let name = NetworkName::new(&network.namespace()?, &network.name_any()).ok()?;
    let uid = network.uid().unwrap_or_default();
    let status = network.status.clone().unwrap_or_default();
    let slots = view.leases.slots_of(&name, &uid);
    let ready = is_ready(network);
    let message = condition(network, READY).filter(|_| !ready).map(|ready| ready.message.clone());
    let subnets = subnets_in_use(network, &slots).into_iter().map(|subnet| SubnetView {
        cidr: subnet.cidr,
        gateway: subnet.gateway,
        capacity: subnet.capacity,
        allocated: subnet.allocated,
    });
    Some(NetworkView {
        network: name,
        class: status.class.clone(),
        provider: status.provider.clone(),
        ready,
        message,
        subnets: subnets.collect(),
        attachments: view.leases.count_of_uid(&uid).into(),
        uid,
    })
}

/// One item per holder; a lease whose holder can't be read is left out.
fn attachments_of(lease: &NetworkLease) -> Vec<AttachmentView> {
    let network = &lease.spec.network;
    let Ok(network) = NetworkName::new(&network.namespace, &network.name) else { return Vec::new() };
    let holders = lease.spec.holders.iter().filter_map(|holder| {
        Some(AttachmentView {
            network: network.clone(),
            lease: lease.name_any(),
            node: holder.node.clone(),
            key: AttachmentKey {
                container_id: holder.container_id.parse().ok()?,
                ifname: holder.ifname.parse().ok()?,
            },
            pod: holder.pod.as_ref().map(|pod| PodRef {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                uid: pod.uid.clone(),
            }),
            addresses: lease.spec.addresses.clone(),
            mac: lease.spec.mac.clone(),
        })
    });
    holders.collect()
}
