//! Who an address is kept for: a StatefulSet's pod, by its StatefulSet and its ordinal, and an interface of it. Pure.

use k8s_openapi::api::apps::v1::StatefulSet;
use knap_api::{Claim, NetworkLease};
use knap_core::reservation;
use knap_protocol::{InterfaceName, NetworkName};
use kube::{Resource, ResourceExt};

use crate::identity::BoundPod;
use crate::view::{first_candidate, fnv1a};

/// `Claim::kind` of a StatefulSet's pod.
pub(crate) const STATEFUL_SET: &str = "StatefulSet";

/// Whoever asks for an address that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimant {
    /// As leases record it.
    pub(super) claim: Claim,
    network_uid: String,
}

impl Claimant {
    /// By the pod; none for one that nobody makes again under its name.
    pub(super) fn of(pod: &BoundPod, interface: &InterfaceName, network_uid: &str) -> Option<Self> {
        let owners = pod.metadata.owner_references.iter().flatten();
        let owner = owners
            .filter(|owner| owner.controller == Some(true) && owner.kind == STATEFUL_SET)
            .find(|owner| owner.api_version == StatefulSet::api_version(&()))?;
        let ordinal = pod.name_any().strip_prefix(&format!("{}-", owner.name))?.parse().ok()?;
        Some(Self {
            claim: Claim {
                kind: STATEFUL_SET.to_owned(),
                namespace: pod.namespace()?,
                name: owner.name.clone(),
                uid: owner.uid.clone(),
                ordinal: Some(ordinal),
                interface: interface.to_string(),
            },
            network_uid: network_uid.to_owned(),
        })
    }

    /// Whether a lease is kept for it.
    pub(super) fn has(&self, lease: &NetworkLease) -> bool {
        lease.spec.network.uid == self.network_uid && lease.spec.claim.as_ref() == Some(&self.claim)
    }

    /// The Reservation that says which lease is.
    pub(super) fn reservation(&self) -> String {
        claim_reservation(&self.claim, &self.network_uid)
    }

    /// Where the search for a slot begins.
    pub(super) fn first_candidate(&self, network: &NetworkName) -> u32 {
        first_candidate(hash(&self.claim, &self.network_uid), network)
    }
}

/// The Reservation that says which lease of a Network is kept for somebody.
pub(crate) fn claim_reservation(claim: &Claim, network_uid: &str) -> String {
    reservation::claim_name(hash(claim, network_uid))
}

fn hash(claim: &Claim, network_uid: &str) -> u64 {
    let ordinal = claim.ordinal.map(|ordinal| ordinal.to_string()).unwrap_or_default();
    fnv1a(&[network_uid, &claim.kind, &claim.namespace, &claim.uid, &ordinal, &claim.interface])
}

/// `pod shop/web-0`, for messages.
pub(super) fn display(claim: &Claim) -> String {
    match claim.ordinal {
        Some(ordinal) => format!("pod {}/{}-{ordinal}", claim.namespace, claim.name),
        None => format!("{} {}/{}", claim.kind, claim.namespace, claim.name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claimant(name: &str, owner: &Value) -> Option<Claimant> {
        let pod = json!({"metadata": {"name": name, "namespace": "shop", "ownerReferences": [owner]}});
        let pod: BoundPod = serde_json::from_value(pod).unwrap();
        Claimant::of(&pod, &"net1".parse().unwrap(), "network-1")
    }

    fn owner(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u1", "controller": true})
    }

    #[test]
    fn a_statefulsets_pod_is_known_by_its_ordinal() {
        let web = claimant("web-2", &owner("StatefulSet", "web")).unwrap();
        assert_eq!((web.claim.ordinal, display(&web.claim).as_str()), (Some(2), "pod shop/web-2"));
        assert_eq!(Some(web.clone()), claimant("web-2", &owner("StatefulSet", "web")));
        let other = claimant("web-3", &owner("StatefulSet", "web")).unwrap();
        assert_ne!(web.reservation(), other.reservation());
    }

    #[test]
    fn what_nobody_makes_again_claims_nothing() {
        assert_eq!(claimant("web-5d9f-x2x", &owner("ReplicaSet", "web-5d9f")), None);
        assert_eq!(claimant("web-first", &owner("StatefulSet", "web")), None);
        let mut foreign = owner("StatefulSet", "web");
        foreign["apiVersion"] = json!("example.com/v1");
        assert_eq!(claimant("web-0", &foreign), None);
        let mut loose = owner("StatefulSet", "web");
        loose["controller"] = json!(false);
        assert_eq!(claimant("web-0", &loose), None);
    }
}
