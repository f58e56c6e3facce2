//! What a slot does not stand for: an address beyond its 24 bits, a MAC address of another form. Each takes a
//! Reservation of its own, made after the lease that it belongs to and freed before it.

use knap_api::{
    NETWORK_NAMESPACE_LABEL, NETWORK_UID_LABEL, NetworkLease, Reservation, ReservationSpec, ReservedFor,
    ReservedForLease,
};
use knap_core::reservation;
use kube::ResourceExt;

use super::Attacher;
use super::answer::Question;
use super::claimant::display;
use super::freed::belongs;
use super::made::Made;
use super::refusal::Refusal;
use crate::store::{ObjectName, Preconditions, Store, StoreError};

/// One thing that an attachment asked for.
pub(super) struct Extra {
    /// The Reservation's name.
    pub(super) name: String,
    /// For messages: the address.
    what: String,
}

impl Extra {
    /// What a request needs beside slots.
    pub(super) fn of(question: &Question<'_>) -> Vec<Self> {
        let (prepared, placement) = (question.prepared, question.placement);
        // A Network's addresses are its own: its code tells them apart from all others.
        let network = format!("network-{}", prepared.mac_code);
        let far = placement.far.iter().map(|address| Self {
            name: reservation::address_name(&network, address.ip()),
            what: address.ip().to_string(),
        });
        let mac = placement.mac.map(|mac| Self {
            name: reservation::requested_mac_name(&prepared.segment(), mac),
            what: format!("MAC address {mac}"),
        });
        let kept = question.claimant.as_ref().map(|claimant| Self {
            name: claimant.reservation(),
            what: format!("the address that is kept for {}", display(&claimant.claim)),
        });
        far.chain(mac).chain(kept).collect()
    }
}

impl<S: Store> Attacher<S> {
    /// Reserves what the attachment's first lease does not stand for.
    pub(super) async fn take_extras(&self, question: &Question<'_>, made: &Made) -> Result<(), Refusal> {
        let Some(lease) = made.leases().next() else { return Ok(()) };
        for extra in Extra::of(question) {
            self.take_extra(question, lease, extra).await?;
        }
        Ok(())
    }

    async fn take_extra(
        &self,
        question: &Question<'_>,
        lease: &NetworkLease,
        extra: Extra,
    ) -> Result<(), Refusal> {
        let wanted = reservation_for(lease, &extra.name, question);
        loop {
            match self.store.create(&wanted).await {
                Ok(_) => return Ok(()),
                Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(there) = self.store.get::<Reservation>(&ObjectName::of(&wanted)).await? else {
                continue;
            };
            let Some(owner) = &there.spec.lease else {
                let holder = format!("Network {}/{}", there.spec.network.namespace, there.spec.network.name);
                return Err(taken(question, extra.what, holder));
            };
            if belongs(owner, &extra.name, lease) {
                return Ok(());
            }
            let other = self.store.get::<NetworkLease>(&ObjectName::cluster(owner.name.as_str())).await?;
            if let Some(other) = other.filter(|other| belongs(owner, &extra.name, other)) {
                return Err(taken(question, extra.what, super::lease::holders_of(&other)));
            }
            // Left behind by a release that came only half way.
            match self
                .store
                .delete::<Reservation>(&ObjectName::of(&there), &Preconditions::unchanged(&there))
                .await
            {
                Ok(()) | Err(StoreError::NotFound { .. } | StoreError::Changed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn reservation_for(lease: &NetworkLease, name: &str, question: &Question<'_>) -> Reservation {
    let network = &lease.spec.network;
    let spec = ReservationSpec {
        network: ReservedFor {
            namespace: network.namespace.clone(),
            name: network.name.clone(),
            uid: network.uid.clone(),
        },
        cidr: None,
        scope: None,
        routed: false,
        lease: Some(ReservedForLease {
            name: lease.name_any(),
            attempt: question.request.attempt.to_string(),
        }),
    };
    let mut reservation = Reservation::new(name, spec);
    let labels = reservation.labels_mut();
    labels.insert(NETWORK_UID_LABEL.to_owned(), network.uid.clone());
    labels.insert(NETWORK_NAMESPACE_LABEL.to_owned(), network.namespace.clone());
    reservation
}

fn taken(question: &Question<'_>, what: String, holder: String) -> Refusal {
    Refusal::Taken { network: question.prepared.name.clone(), what, holder }
}
