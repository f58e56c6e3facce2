//! The leases of one attachment: made by creates that are the lock, or found again when made before.

use std::sync::Arc;
use std::time::Duration;

use knap_api::{NETWORK_NAMESPACE_LABEL, NetworkLease};
use knap_core::{Attachment, LeaseFacts, Mac, MacSource, NodeFacts, Slot};
use knap_protocol::NetworkName;
use kube::ResourceExt;
use tokio::time::Instant;

use super::Attacher;
use super::answer::{Question, pod_namespace};
use super::extra::Extra;
use super::lease::{holders_of, lease_on};
use super::made::{Made, Origin};
use super::placement::Place;
use super::refusal::{Refusal, list};
use crate::store::{Labels, ObjectName, Store, StoreError};
use crate::view::{LeaseIndex, next_candidate};

/// How long to wait before a create is repeated whose outcome is not known, or a look that failed.
pub(super) const REPEAT: Duration = Duration::from_millis(100);

/// What came of one create.
enum Created {
    Ours(Box<NetworkLease>, Origin),
    Theirs(Box<NetworkLease>),
}

/// A slot that is kept from being proposed to others until its lease is known.
struct Tentative<'a> {
    index: &'a LeaseIndex,
    network: &'a NetworkName,
    slot: Slot,
}

impl Drop for Tentative<'_> {
    fn drop(&mut self) {
        // No effect where a lease is known on the slot by now.
        self.index.give_back(self.network, self.slot);
    }
}

impl Question<'_> {
    /// The configurations for a lease.
    pub(super) fn configs(&self, node: &NodeFacts, lease: &LeaseFacts) -> Result<Attachment, Refusal> {
        let prepared = self.prepared;
        prepared.provider.attachment(&prepared.plan, node, lease).map_err(|source| Refusal::Provider {
            network: prepared.name.clone(),
            node: self.asker.node.clone(),
            source: Box::new(source),
        })
    }

    /// The MAC address of an attachment whose first slot this is.
    fn mac(&self, slot: Slot) -> Option<Mac> {
        match self.prepared.plan.mac {
            MacSource::Lease => {
                Some(self.placement.mac.unwrap_or_else(|| Mac::of(self.prepared.mac_code, slot)))
            }
            MacSource::Device => None,
        }
    }

    pub(super) fn in_time(&self) -> Result<(), Refusal> {
        if Instant::now() < self.deadline {
            Ok(())
        } else {
            Err(Refusal::Deadline(self.prepared.name.clone()))
        }
    }
}

impl<S: Store> Attacher<S> {
    /// Makes the leases, or finds those that the same attempt made before. On an error nothing of this call is left, or the
    /// refusal says so.
    pub(super) async fn make(&self, question: &Question<'_>) -> Result<Made, Refusal> {
        let labels = self.view.node_labels(&self.store, question.asker.node.as_str()).await?;
        let node = NodeFacts {
            name: question.asker.node.to_string(),
            labels: labels.map(|labels| labels.as_ref().clone()),
        };
        let mut made = Made::at(node);
        let places = self.places(question)?;
        let outcome = match &question.claimant {
            _ if !places.is_empty() => self.exactly(question, &places, &mut made).await,
            Some(claimant) => self.kept(question, claimant, &mut made).await,
            None => self.anywhere(question, &mut made).await,
        };
        match outcome {
            Ok(()) => Ok(made),
            Err(refusal) => Err(self.withdraw(made, refusal).await),
        }
    }

    /// The places that the request implies; none where any slot will do.
    fn places(&self, question: &Question<'_>) -> Result<Vec<Place>, Refusal> {
        let prepared = question.prepared;
        let places = question.placement.places(&prepared.layout);
        let named = &question.request.leases;
        if named.is_empty() {
            return Ok(places);
        }
        // A running attachment is asserted again: these leases, or none.
        let foreign =
            |lease: &String| Refusal::ForeignLease { network: prepared.name.clone(), lease: lease.clone() };
        let mut slots = Vec::new();
        for lease in named {
            let number = lease.strip_prefix(&format!("{}-", prepared.name.dotted()));
            slots.push(
                number.and_then(|number| Slot::new(number.parse().ok()?)).ok_or_else(|| foreign(lease))?,
            );
        }
        slots.sort_unstable();
        match (places.as_slice(), slots.as_slice()) {
            ([], [slot]) => Ok(vec![question.placement.at(*slot, &prepared.layout)]),
            (places, slots) if places.iter().map(|place| place.slot).eq(slots.iter().copied()) => {
                Ok(places.to_vec())
            }
            _ => Err(foreign(&named.join(","))),
        }
    }

    /// A lease on each of these places.
    async fn exactly(
        &self,
        question: &Question<'_>,
        places: &[Place],
        made: &mut Made,
    ) -> Result<(), Refusal> {
        self.check_configs(question, places, &made.node)?;
        let _admitted = self.admit(question)?;
        let name = &question.prepared.name;
        let mac = places.first().and_then(|place| question.mac(place.slot));
        for (position, place) in places.iter().enumerate() {
            let claimed = self.view.leases.claim(name, place.slot);
            let _tentative =
                claimed.then(|| Tentative { index: &self.view.leases, network: name, slot: place.slot });
            let first = position == 0;
            match self.create(question, place, mac.filter(|_| first), first).await? {
                Created::Ours(lease, origin) => made.add(*lease, origin),
                Created::Theirs(lease) => {
                    let what = match list(&place.addresses) {
                        addresses if addresses.is_empty() => format!("slot {}", place.slot),
                        addresses => addresses,
                    };
                    return Err(Refusal::Taken { network: name.clone(), what, holder: holders_of(&lease) });
                }
            }
        }
        self.take_extras(question, made).await
    }

    /// A lease on any slot: the one that this attempt has, or the first that nobody has.
    pub(super) async fn anywhere(&self, question: &Question<'_>, made: &mut Made) -> Result<(), Refusal> {
        if let Some(lease) = self.found(question).await? {
            made.add(lease, Origin::Found);
            return self.take_extras(question, made).await;
        }
        let _admitted = self.admit(question)?;
        let (prepared, index) = (question.prepared, &self.view.leases);
        let mut start = match &question.claimant {
            Some(claimant) => claimant.first_candidate(&prepared.name),
            None => question.asker.hash().first_candidate(&prepared.name),
        };
        let mut looked = false;
        loop {
            question.in_time()?;
            let Some(slot) = index.propose(&prepared.name, start) else {
                if std::mem::replace(&mut looked, true) {
                    let capacity = prepared.layout.capacity();
                    return Err(Refusal::Full { network: prepared.name.clone(), capacity });
                }
                self.look_for_free(question).await?;
                continue;
            };
            let _tentative = Tentative { index, network: &prepared.name, slot };
            if !prepared.layout.usable_slots().contains(slot) {
                return Err(Refusal::changed(&prepared.name));
            }
            let place = question.placement.at(slot, &prepared.layout);
            self.check_configs(question, std::slice::from_ref(&place), &made.node)?;
            match self.create(question, &place, question.mac(slot), true).await? {
                Created::Ours(lease, origin) => {
                    made.add(*lease, origin);
                    return self.take_extras(question, made).await;
                }
                // Now it is known, and not proposed again. Where others crowd, the next slot is probably theirs too.
                Created::Theirs(_) => {
                    self.counters.collisions.inc();
                    start = next_candidate(start);
                }
            }
        }
    }

    /// Counts the attachment, if its namespace may have one more. One that runs had been counted before its lease was lost,
    /// and is let in: another pod would get what it uses.
    pub(super) fn admit(
        &self,
        question: &Question<'_>,
    ) -> Result<Option<super::quota::Admitted<'_>>, Refusal> {
        if question.request.is_reassertion() {
            return Ok(None);
        }
        let (class, request) = (&question.prepared.class, question.request);
        let namespace = pod_namespace(request);
        Ok(Some(self.pending.admit(&self.view, class, namespace, question.asker, &request.attempt)?))
    }

    /// The lease that an earlier call of the same attempt made, as far as the view knows of one.
    async fn found(&self, question: &Question<'_>) -> Result<Option<NetworkLease>, Refusal> {
        let (asker, attempt) = (question.asker, &question.request.attempt);
        for known in self.view.leases.of_holder(asker.hash(), attempt.as_str()) {
            let lease = self.store.get::<NetworkLease>(&ObjectName::cluster(known.name())).await?;
            let Some(lease) = lease else { continue };
            if !lease.spec.holders.iter().any(|holder| asker.is(holder, attempt)) {
                continue;
            }
            if lease.spec.network.uid != question.prepared.uid {
                return Err(Refusal::ForeignLease {
                    network: question.prepared.name.clone(),
                    lease: lease.name_any(),
                });
            }
            return Ok(Some(lease));
        }
        Ok(None)
    }

    /// Whether the provider can serve these places at all: to be known before anything is made. What runs has its lease again
    /// even so, and is told afterwards.
    fn check_configs(
        &self,
        question: &Question<'_>,
        places: &[Place],
        node: &NodeFacts,
    ) -> Result<(), Refusal> {
        if question.request.is_reassertion() {
            return Ok(());
        }
        let facts = LeaseFacts {
            addresses: places.iter().flat_map(|place| place.addresses.iter().copied()).collect(),
            mac: places.first().and_then(|place| question.mac(place.slot)),
        };
        question.configs(node, &facts).map(|_| ())
    }

    /// One create. An outcome that is not known is settled by repeating it under the same name.
    async fn create(
        &self,
        question: &Question<'_>,
        place: &Place,
        mac: Option<Mac>,
        first: bool,
    ) -> Result<Created, Refusal> {
        let extras = if first { Extra::of(question) } else { Vec::new() };
        let extras: Vec<String> = extras.into_iter().map(|extra| extra.name).collect();
        let claim = question.claimant.as_ref().map(|claimant| claimant.claim.clone());
        let wanted =
            lease_on(question.prepared, place, mac, &extras, claim, question.asker, question.request);
        let mut lost = None;
        loop {
            question.in_time()?;
            match self.store.create(&wanted).await {
                Ok(lease) => {
                    self.view.leases.insert(&lease);
                    return Ok(Created::Ours(Box::new(lease), Origin::Created));
                }
                Err(StoreError::AlreadyExists { .. }) => {}
                Err(error @ StoreError::Unavailable { .. }) => {
                    lost = Some(Origin::Created);
                    self.counters.repeats.inc();
                    tracing::warn!(lease = wanted.name_any(), %error, "the outcome of a create is not known; repeating it");
                    tokio::time::sleep(REPEAT).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            let there = self.store.get::<NetworkLease>(&ObjectName::of(&wanted)).await?;
            // Gone between the two: once more.
            let Some(lease) = there else { continue };
            self.view.leases.insert(&lease);
            if question.claimant.as_ref().is_some_and(|claimant| claimant.has(&lease)) {
                match self.adopt(question, lease, &mut lost).await? {
                    Some((lease, origin)) => return Ok(Created::Ours(Box::new(lease), origin)),
                    None => continue,
                }
            }
            let attempt = &question.request.attempt;
            let ours = lease.spec.network.uid == question.prepared.uid
                && lease.spec.holders.iter().any(|holder| question.asker.is(holder, attempt));
            let lease = Box::new(lease);
            return Ok(if ours {
                Created::Ours(lease, question.origin(lost))
            } else {
                Created::Theirs(lease)
            });
        }
    }

    /// "Full" is said only after a consistent list.
    async fn look_for_free(&self, question: &Question<'_>) -> Result<(), Refusal> {
        let name = &question.prepared.name;
        let before = self.view.leases.known_slots(name);
        let listed = self.listed(name).await?;
        self.view.leases.correct(name, &before, &listed);
        Ok(())
    }

    /// All leases of a Network, by a list that begins now; who waits for one shares it.
    pub(super) async fn listed(&self, name: &NetworkName) -> Result<Arc<[NetworkLease]>, Refusal> {
        let list = self.lists.lock().entry(name.clone()).or_default().clone();
        let (store, network) = (self.store.clone(), name.clone());
        let listed = list.read(move || async move {
            let labels =
                Labels::from([(NETWORK_NAMESPACE_LABEL.to_owned(), Some(network.namespace().to_owned()))]);
            let mut leases = store.list::<NetworkLease>(&labels).await.map_err(Arc::new)?;
            leases.retain(|lease| lease.spec.network.name == network.name());
            Ok(leases.into())
        });
        listed.await.map_err(Refusal::Store)
    }
}
