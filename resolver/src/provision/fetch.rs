//! First step: all that one pass decides from, read from the view once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use knap_api::{EligibleNodes, Ipam, Network, NetworkClass, Reservation, ReservationStatus};
use knap_core::{Class, ClusterNetworks, FabricConflict, fabric_conflicts};
use kube::ResourceExt;

use super::choose::{class_by_name, seniority_of};
use super::reserved::{Reserved, is_verified};
use super::status::class_name;
use crate::nodes::Eligibility;
use crate::translate::{self, TranslateError};
use crate::view::View;

/// What Networks are held against in one pass.
pub(super) struct Fetched {
    /// Classes that can be read.
    pub(super) classes: BTreeMap<String, Class>,
    /// Those that can't, by name.
    pub(super) broken_classes: BTreeMap<String, TranslateError>,
    /// Those that can't use a wire beside an earlier one, by name.
    pub(super) fabric_conflicts: BTreeMap<String, FabricConflict>,
    /// What the cluster itself uses.
    pub(super) cluster_networks: Arc<ClusterNetworks>,
    /// Everything reserved, kept up as the pass goes on.
    pub(super) reserved: Reserved,
    /// Which nodes serve which class.
    eligibility: Eligibility,
    /// By namespace and class: the UIDs of the Networks that it serves, for quotas.
    served: HashMap<String, HashMap<String, HashSet<String>>>,
    /// Networks as they were written since, with another class than before.
    moved: Vec<Network>,
    /// Whether one of them has left a class that serves so many of a namespace: another may have its place.
    left: bool,
}

impl Fetched {
    pub(super) fn new(view: &View) -> Self {
        Self::with_classes(view, &view.classes.all())
    }

    /// The same, if these were the classes that there are.
    pub(super) fn with_classes(view: &View, all: &[Arc<NetworkClass>]) -> Self {
        let mut classes = BTreeMap::new();
        let mut broken_classes = BTreeMap::new();
        let mut seniorities = BTreeMap::new();
        for class in all {
            let name = class.name_any();
            match translate::class(class) {
                Ok(translated) => {
                    seniorities.insert(name.clone(), seniority_of(&**class));
                    classes.insert(name, translated);
                }
                Err(error) => {
                    broken_classes.insert(name, error);
                }
            }
        }
        let fabric_conflicts = fabric_conflicts(classes.values().zip(seniorities.values()), || view.nodes());
        let mut fetched = Self {
            classes,
            broken_classes,
            fabric_conflicts,
            cluster_networks: view.cluster_networks(),
            reserved: Reserved::new(view.reservations.all()),
            eligibility: Eligibility::default(),
            served: HashMap::new(),
            moved: Vec::new(),
            left: false,
        };
        for network in view.networks.all() {
            fetched.note_class(&network);
        }
        fetched
    }

    /// How many nodes serve a Network of this class; none where there is no such class.
    pub(super) fn nodes(&mut self, view: &View, network: &Network, class: &str) -> Option<EligibleNodes> {
        let class = class_by_name(class, self)?;
        Some(self.eligibility.count(view, &class, network.spec.ipam == Ipam::Dhcp))
    }

    /// Notes which class serves a Network, as its status says.
    pub(super) fn note_class(&mut self, network: &Network) {
        let meta = &network.metadata;
        if let (Some(namespace), Some(class)) = (&meta.namespace, class_name(network)) {
            let served = self.served.entry(namespace.clone()).or_default();
            let uid = meta.uid.clone().unwrap_or_default();
            for networks in served.values_mut() {
                networks.remove(&uid);
            }
            served.entry(class.to_owned()).or_default().insert(uid);
        }
    }

    /// Notes that a status was written: the view does not know of it yet.
    pub(super) fn note_written(&mut self, before: &Network, written: Network) {
        let class = class_name(before);
        if class != class_name(&written) {
            let left = class.and_then(|class| self.classes.get(class));
            self.left |= left.is_some_and(|class| class.access.networks_per_namespace.is_some());
            self.note_class(&written);
            self.moved.push(written);
        }
    }

    /// Whether those that wait have to be looked at before others are.
    pub(super) const fn has_room(&self) -> bool {
        self.left
    }

    /// What the view may not know of yet, at the end of a turn.
    pub(super) fn into_moved(self) -> Vec<Network> {
        self.moved
    }

    /// Leaves a Network out, as if it were deleted now: what it has drains while attachments run, or else is free and returned.
    pub(super) fn leave_out(&mut self, view: &View, network: &Network) -> Vec<Arc<Reservation>> {
        let uid = network.metadata.uid.as_deref().unwrap_or_default();
        let (mut own, mut others): (Vec<_>, Vec<_>) =
            view.reservations.all().into_iter().partition(|known| known.spec.network.uid == uid);
        if view.leases.count_of_uid(uid) > 0 {
            others.extend(own.drain(..).map(|own| Arc::new(draining(&own))));
        }
        self.reserved = Reserved::new(others);
        for networks in self.served.values_mut().flat_map(HashMap::values_mut) {
            networks.remove(uid);
        }
        own
    }

    /// How many Networks of a namespace a class serves, but for this one.
    pub(super) fn others(&self, namespace: &str, class: &str, uid: &str) -> usize {
        let served = self.served.get(namespace).and_then(|by_class| by_class.get(class));
        served.into_iter().flatten().filter(|other| *other != uid).count()
    }
}

fn draining(reservation: &Reservation) -> Reservation {
    let verified = is_verified(reservation);
    Reservation { status: Some(ReservationStatus { verified, draining: true }), ..reservation.clone() }
}
