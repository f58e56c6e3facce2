//! A running attachment whose lease was lost, asserted again by its node: what is believed of it.
//!
//! Its address must not go to another pod, so it is let in where an ADD would not be: permission withdrawn, a quota lowered since.
//! But a node's word alone lets nobody in. The pod itself must ask for the Network, and have less of it than it asks for.

use std::collections::BTreeSet;

use knap_core::NotPermitted;
use knap_protocol::{AttachRequest, PodRef};

use super::Attacher;
use super::answer::pod_namespace;
use super::lease::Asker;
use super::prepared::Prepared;
use super::refusal::Refusal;
use crate::admission::interfaces_on;
use crate::identity::BoundPod;
use crate::store::{ObjectName, Store};

impl<S: Store> Attacher<S> {
    /// Refuses what an ADD would be refused, unless the pod bears out what the node says. On a single host whoever asks is believed.
    pub(super) async fn believe(
        &self,
        prepared: &Prepared,
        asker: Asker<'_>,
        request: &AttachRequest,
        permitted: &Result<(), NotPermitted>,
    ) -> Result<(), Refusal> {
        let known = self.view.leases.of_holder(asker.hash(), request.attempt.as_str());
        let is_known = |name: &String| known.iter().any(|lease| lease.name() == *name);
        if self.pods.is_none() || request.leases.iter().all(is_known) {
            return Ok(());
        }
        let namespace = pod_namespace(request);
        let admitted = || self.pending.admit(&self.view, &prepared.class, namespace, asker, &request.attempt);
        let refusal = match (permitted, admitted()) {
            (Err(not_permitted), _) => Refusal::from(not_permitted.clone()),
            (Ok(()), Err(over)) => over.into(),
            (Ok(()), Ok(_)) => return Ok(()),
        };
        let Some(pod) = &request.pod else { return Err(refusal) };
        let asked_for = self.asked_for_by(pod, prepared).await?;
        if asked_for > 0 && self.others_of(pod, asker, prepared).await? < asked_for {
            Ok(())
        } else {
            Err(refusal)
        }
    }

    /// How many interfaces on the Network the pod asks for, by the API server's word.
    async fn asked_for_by(&self, pod: &PodRef, prepared: &Prepared) -> Result<usize, Refusal> {
        let name = ObjectName::namespaced(pod.namespace.as_str(), pod.name.as_str());
        let found = self.store.get::<BoundPod>(&name).await?;
        let annotations = found.and_then(|pod| pod.metadata.annotations).unwrap_or_default();
        Ok(interfaces_on(&annotations, &pod.namespace, &prepared.name))
    }

    /// How many other interfaces of the pod have leases of the Network.
    async fn others_of(&self, pod: &PodRef, asker: Asker<'_>, prepared: &Prepared) -> Result<usize, Refusal> {
        let leases = self.listed(&prepared.name).await?;
        let holders = leases.iter().flat_map(|lease| &lease.spec.holders);
        let of_pod = holders.filter(|holder| {
            holder.pod.as_ref().is_some_and(|holding| holding.uid == pod.uid && holding.uid.is_some())
        });
        let interfaces: BTreeSet<(&str, &str)> =
            of_pod.map(|holder| (holder.container_id.as_str(), holder.ifname.as_str())).collect();
        let own = (asker.key.container_id.as_str(), asker.key.ifname.as_str());
        Ok(interfaces.into_iter().filter(|interface| *interface != own).count())
    }
}
