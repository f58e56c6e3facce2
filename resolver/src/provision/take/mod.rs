//! Third step: reserve what the Network needs. Every thing is taken by creating its Reservation; what is the
//! Network's already is kept. What can be seen without that to be in the way is looked at before.

mod numbers;
mod subnets;

use std::sync::Arc;

use knap_api::{Reservation, ReservationSpec, ReservedFor};
use knap_core::{Class, ClusterNetworks, Grant, Needs, NetworkIntent, NumberKind};
use kube::ResourceExt;

use super::error::ProvisionError;
use super::granted::Granted;
use super::reserved::{Reserved, Thing, is_draining};
use crate::fault;
use crate::store::{ObjectName, Store, StoreError};
use crate::view::View;

/// Takes what one Network needs.
pub(super) struct Taker<'a, S> {
    pub(super) store: &'a S,
    /// What tells of the store's changes, where something does.
    pub(super) changes: Option<&'a View>,
    /// What no subnet may overlap, whoever has it.
    pub(super) cluster: &'a ClusterNetworks,
    pub(super) reserved: &'a mut Reserved,
    pub(super) intent: &'a NetworkIntent,
    pub(super) class: &'a Class,
    pub(super) needs: &'a Needs,
    /// What the status records.
    pub(super) granted: &'a Granted,
    /// How many leases it has.
    pub(super) leases: u32,
    /// Names of the Reservations that the grant is made of.
    pub(super) used: Vec<String>,
    /// Whether anything of it was not the Network's, and verified, before.
    pub(super) taken: bool,
}

/// Whose a Reservation is, after a create.
enum Owned {
    Ours(Arc<Reservation>),
    Theirs(Arc<Reservation>),
}

impl<S: Store> Taker<'_, S> {
    /// What it would get, as far as the picture goes. Who can't be served is seen here, before anything is created for it: what
    /// is given back wakes all who wait, this one too, and so it would be taken and given back forever.
    pub(super) fn foresee(&self) -> Result<Grant, ProvisionError> {
        let mac_code = self.likely_mac_code()?;
        let (vlan, vni) = if self.is_fixed() {
            (self.granted.vlan, self.granted.vni)
        } else {
            (vlan(self.likely(NumberKind::Vlan)?), self.likely(NumberKind::Vni)?)
        };
        let scope = self.needs.address_scope(mac_code, vlan, vni);
        self.check_in_use(&scope)?;
        let uid = &self.intent.owner.uid;
        for name in &self.needs.exclusive {
            if let Some(theirs) = self.reserved.of_another(uid, name) {
                return Err(ProvisionError::InUse { what: name.clone(), owner: owner_of(theirs) });
            }
        }
        Ok(Grant { mac_code, vlan, vni, layout: self.likely_layout(&scope)? })
    }

    /// Takes everything, and says what that makes.
    pub(super) async fn take(&mut self) -> Result<Grant, ProvisionError> {
        let mac_code = self.mac_code().await?;
        let (vlan, vni) = if self.is_fixed() {
            self.same_numbers().await?;
            (self.granted.vlan, self.granted.vni)
        } else {
            (vlan(self.number(NumberKind::Vlan).await?), self.number(NumberKind::Vni).await?)
        };
        let scope = self.needs.address_scope(mac_code, vlan, vni);
        for name in self.needs.exclusive.clone() {
            if let Owned::Theirs(theirs) = self.create(&name, self.spec()).await? {
                return Err(ProvisionError::InUse { what: name, owner: owner_of(&theirs) });
            }
        }
        let layout = self.layout(&scope).await?;
        fault::point("provision-reserved");
        Ok(Grant { mac_code, vlan, vni, layout })
    }

    /// Whether attachments run: what they use stays exactly as it is, and only subnets are added.
    const fn is_fixed(&self) -> bool {
        self.leases > 0
    }

    /// This very thing, which attachments use already.
    async fn exactly(&mut self, name: &str, spec: ReservationSpec, what: &str) -> Result<(), ProvisionError> {
        match self.create(name, spec).await? {
            Owned::Ours(_) => Ok(()),
            Owned::Theirs(theirs) => {
                Err(ProvisionError::Lost { what: what.to_owned(), owner: owner_of(&theirs) })
            }
        }
    }

    /// Creates a Reservation, unless it is ours already.
    async fn create(&mut self, name: &str, spec: ReservationSpec) -> Result<Owned, StoreError> {
        self.used.push(name.to_owned());
        let known = self.reserved.named(&self.intent.owner.uid, name).cloned();
        if let Some(known) = known.filter(|known| !is_draining(known)) {
            return Ok(Owned::Ours(known));
        }
        self.taken = true;
        let mut wanted = Reservation::new(name, spec);
        let owner = &self.intent.owner;
        wanted.labels_mut().insert(knap_api::NETWORK_UID_LABEL.to_owned(), owner.uid.clone());
        wanted.labels_mut().insert(knap_api::NETWORK_NAMESPACE_LABEL.to_owned(), owner.namespace.clone());
        loop {
            let there = match self.store.create(&wanted).await {
                Ok(created) => Some(created),
                Err(StoreError::AlreadyExists { .. }) => self.store.get(&ObjectName::cluster(name)).await?,
                Err(error) => return Err(error),
            };
            // Gone between the two: once more.
            let Some(there) = there else { continue };
            if there.spec.network.uid != self.intent.owner.uid {
                self.used.retain(|used| used != name);
                let theirs = Arc::new(there);
                self.reserved.note(Arc::clone(&theirs));
                return Ok(Owned::Theirs(theirs));
            }
            let ours = if is_draining(&there) { self.stop_draining(there).await? } else { there };
            let ours = Arc::new(ours);
            self.reserved.note(Arc::clone(&ours));
            return Ok(Owned::Ours(ours));
        }
    }

    /// It was about to be given up, and is needed after all.
    async fn stop_draining(&self, mut reservation: Reservation) -> Result<Reservation, StoreError> {
        if let Some(status) = &mut reservation.status {
            status.draining = false;
        }
        self.store.update_status(&reservation).await
    }

    fn held<T>(&self, select: impl Fn(&Thing) -> Option<T>) -> Vec<T> {
        self.reserved.of(&self.intent.owner.uid).filter_map(|(thing, _)| select(thing)).collect()
    }

    fn spec(&self) -> ReservationSpec {
        let owner = &self.intent.owner;
        ReservationSpec {
            network: ReservedFor {
                namespace: owner.namespace.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
            },
            cidr: None,
            scope: None,
            routed: false,
            lease: None,
        }
    }

    fn exhausted(&self, what: &str) -> ProvisionError {
        ProvisionError::Exhausted { class: self.class.name.clone(), what: what.to_owned() }
    }
}

/// What would have to be otherwise, and can't while attachments run.
fn fixed(what: &'static str, was: &str, becomes: &str, leases: u32) -> ProvisionError {
    ProvisionError::Fixed { what, was: was.to_owned(), becomes: becomes.to_owned(), leases }
}

/// VLANs go to 4094.
fn vlan(number: Option<u32>) -> Option<u16> {
    number.and_then(|number| u16::try_from(number).ok())
}

fn owner_of(reservation: &Reservation) -> String {
    format!("{}/{}", reservation.spec.network.namespace, reservation.spec.network.name)
}
