//! NetworkLease objects: made from a decision, and read back.

use knap_api::{
    Claim, Holder, HolderPod, LeaseNetwork, NETWORK_NAMESPACE_LABEL, NETWORK_UID_LABEL, NetworkLease,
    NetworkLeaseSpec, RESERVATIONS_ANNOTATION,
};
use knap_core::{Mac, reservation};
use knap_protocol::{AttachRequest, AttachmentKey, Attempt, NodeName};
use kube::ResourceExt;

use super::placement::Place;
use super::prepared::Prepared;
use crate::view::HolderHash;

/// Who asks, from where.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// The sandbox and the interface in it.
    pub key: &'a AttachmentKey,
}

impl Asker<'_> {
    /// The hash by which its leases are found.
    pub(super) fn hash(&self) -> HolderHash {
        HolderHash::of(self.node, self.key)
    }

    /// Whether a holder is this asker, in this attempt.
    pub(super) fn is(&self, holder: &Holder, attempt: &Attempt) -> bool {
        holder.attempt == attempt.as_str()
            && holder.node == self.node.as_str()
            && holder.container_id == self.key.container_id.as_str()
            && holder.ifname == self.key.ifname.as_str()
    }
}

/// The lease on a place.
pub(super) fn lease_on(
    prepared: &Prepared,
    place: &Place,
    mac: Option<Mac>,
    reservations: &[String],
    claim: Option<Claim>,
    asker: Asker<'_>,
    request: &AttachRequest,
) -> NetworkLease {
    let name = &prepared.name;
    let spec = NetworkLeaseSpec {
        network: LeaseNetwork {
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
            uid: prepared.uid.clone(),
        },
        slot: place.slot.get(),
        addresses: place.addresses.iter().map(ToString::to_string).collect(),
        mac: mac.map(|mac| mac.to_string()),
        claim,
        holders: Vec::new(),
    };
    let mut lease =
        NetworkLease::new(&reservation::lease_name(name.namespace(), name.name(), place.slot), spec);
    let labels = lease.labels_mut();
    labels.insert(NETWORK_UID_LABEL.to_owned(), prepared.uid.clone());
    labels.insert(NETWORK_NAMESPACE_LABEL.to_owned(), name.namespace().to_owned());
    hold(&mut lease, asker, request);
    if !reservations.is_empty() {
        lease.annotations_mut().insert(RESERVATIONS_ANNOTATION.to_owned(), reservations.join(","));
    }
    lease
}

/// Adds the asker to a lease's holders.
pub(super) fn hold(lease: &mut NetworkLease, asker: Asker<'_>, request: &AttachRequest) {
    lease.labels_mut().insert(asker.hash().label(), String::new());
    lease.spec.holders.push(holder_of(asker, request));
}

fn holder_of(asker: Asker<'_>, request: &AttachRequest) -> Holder {
    Holder {
        attempt: request.attempt.to_string(),
        node: asker.node.to_string(),
        boot_id: request.boot_id.to_string(),
        container_id: asker.key.container_id.to_string(),
        ifname: asker.key.ifname.to_string(),
        pod: request.pod.as_ref().map(|pod| HolderPod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        }),
    }
}

/// Names of the Reservations that a lease needs beside its slot.
pub(super) fn reservations_of(lease: &NetworkLease) -> Vec<String> {
    let names = lease.annotations().get(RESERVATIONS_ANNOTATION).map(String::as_str).unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Who holds a lease, for a message.
pub(super) fn holders_of(lease: &NetworkLease) -> String {
    let holders = lease.spec.holders.iter().map(|holder| match &holder.pod {
        Some(pod) => format!("pod {}/{} on node {}", pod.namespace, pod.name, holder.node),
        None => format!("container {} ({}) on node {}", holder.container_id, holder.ifname, holder.node),
    });
    let holders = holders.collect::<Vec<_>>().join(" and ");
    if holders.is_empty() { format!("lease {}", lease.name_any()) } else { holders }
}
