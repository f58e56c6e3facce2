//! What Reservations hold: read from their names once, and looked up by what they hold and whose they are.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ipnetwork::IpNetwork;
use knap_api::Reservation;
use knap_core::{AddressRange, MacCode, SubnetClaim, scopes_meet};
use kube::ResourceExt;

use crate::store::order_of;

/// The one thing that a Reservation holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    /// Two bytes of MAC addresses and of link names.
    MacCode(MacCode),
    /// A VLAN on a fabric.
    Vlan(String, u16),
    /// A VXLAN identifier.
    Vni(u32),
    /// A subnet within a scope.
    Subnet(String, IpNetwork),
    /// What a single lease needs beside its slot: an address or a MAC that was asked for.
    OfLease,
    /// What else only one Network can have.
    Exclusive,
}

impl Thing {
    /// Of a Reservation. A subnet's is in its spec, a number is in its name.
    pub(crate) fn of(reservation: &Reservation) -> Self {
        let spec = &reservation.spec;
        if spec.lease.is_some() {
            return Self::OfLease;
        }
        if let (Some(cidr), Some(scope)) = (&spec.cidr, &spec.scope)
            && let Ok(cidr) = cidr.parse()
        {
            return Self::Subnet(scope.clone(), cidr);
        }
        number_in(&reservation.name_any()).unwrap_or(Self::Exclusive)
    }
}

fn number_in(name: &str) -> Option<Thing> {
    let (kind, rest) = name.split_once('-')?;
    match kind {
        "mac" => rest.parse().ok().map(Thing::MacCode),
        "vni" => rest.parse().ok().map(Thing::Vni),
        "vlan" => {
            let (fabric, vlan) = rest.rsplit_once('-')?;
            Some(Thing::Vlan(fabric.to_owned(), vlan.parse().ok()?))
        }
        _ => None,
    }
}

/// All Reservations at one moment: proposals come from here, and whoever creates first has it.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    by_owner: HashMap<String, Vec<(Thing, Arc<Reservation>)>>,
    mac_codes: BTreeSet<MacCode>,
    vlans: HashMap<String, BTreeSet<u32>>,
    vnis: BTreeSet<u32>,
    /// By the Reservation's name.
    subnets: HashMap<String, ReservedSubnet>,
    /// What else only one Network can have, by the Reservation's name.
    exclusive: HashMap<String, Arc<Reservation>>,
}

#[derive(Debug)]
struct ReservedSubnet {
    scope: String,
    cidr: IpNetwork,
    reservation: Arc<Reservation>,
}

impl ReservedSubnet {
    /// Whether a subnet of this scope would have to stay clear of it.
    fn concerns(&self, scope: &str, routed: bool) -> bool {
        scopes_meet(&self.scope, scope) || (routed && self.reservation.spec.routed)
    }
}

impl Reserved {
    pub(super) fn new(reservations: impl IntoIterator<Item = Arc<Reservation>>) -> Self {
        let mut reserved = Self::default();
        for reservation in reservations {
            reserved.note(reservation);
        }
        reserved
    }

    /// Adds a Reservation, or one's newer state.
    pub(super) fn note(&mut self, reservation: Arc<Reservation>) {
        let thing = Thing::of(&reservation);
        match &thing {
            Thing::MacCode(code) => {
                self.mac_codes.insert(*code);
            }
            Thing::Vlan(fabric, vlan) => {
                self.vlans.entry(fabric.clone()).or_default().insert(u32::from(*vlan));
            }
            Thing::Vni(vni) => {
                self.vnis.insert(*vni);
            }
            Thing::Subnet(scope, cidr) => {
                let (scope, cidr, reservation) = (scope.clone(), *cidr, Arc::clone(&reservation));
                self.subnets.insert(reservation.name_any(), ReservedSubnet { scope, cidr, reservation });
            }
            Thing::Exclusive => {
                self.exclusive.insert(reservation.name_any(), Arc::clone(&reservation));
            }
            Thing::OfLease => {}
        }
        let owned = self.by_owner.entry(reservation.spec.network.uid.clone()).or_default();
        owned.retain(|(_, known)| known.metadata.name != reservation.metadata.name);
        owned.push((thing, reservation));
    }

    /// Drops a Reservation that is gone. The number that it held is not proposed again before the next look.
    pub(super) fn forget(&mut self, reservation: &Reservation) {
        self.subnets.remove(&reservation.name_any());
        self.exclusive.remove(&reservation.name_any());
        if let Some(owned) = self.by_owner.get_mut(&reservation.spec.network.uid) {
            owned.retain(|(_, known)| known.metadata.name != reservation.metadata.name);
        }
    }

    /// What a Network has, by its UID; without what its leases have.
    pub(super) fn of(&self, uid: &str) -> impl Iterator<Item = (&Thing, &Arc<Reservation>)> {
        let owned = self.by_owner.get(uid).into_iter().flatten();
        owned.filter(|(thing, _)| *thing != Thing::OfLease).map(|(thing, reservation)| (thing, reservation))
    }

    /// One thing of a Network's, by the Reservation's name.
    pub(super) fn named(&self, uid: &str, name: &str) -> Option<&Arc<Reservation>> {
        self.of(uid)
            .map(|(_, reservation)| reservation)
            .find(|known| known.metadata.name.as_deref() == Some(name))
    }

    /// What only one Network can have, if it is somebody else's.
    pub(super) fn of_another(&self, uid: &str, name: &str) -> Option<&Arc<Reservation>> {
        self.exclusive.get(name).filter(|known| known.spec.network.uid != uid)
    }

    pub(super) fn has_mac_code(&self, code: MacCode) -> bool {
        self.mac_codes.contains(&code)
    }

    pub(super) fn vlans(&self, fabric: &str) -> BTreeSet<u32> {
        self.vlans.get(fabric).cloned().unwrap_or_default()
    }

    pub(super) fn vnis(&self) -> &BTreeSet<u32> {
        &self.vnis
    }

    /// Subnets that one of this scope must stay clear of.
    pub(super) fn subnets(&self, scope: &str, routed: bool) -> Vec<IpNetwork> {
        let near = self.subnets.values().filter(|known| known.concerns(scope, routed));
        near.map(|known| known.cidr).collect()
    }

    /// The first verified subnet of somebody else's that overlaps this one, as far as the picture goes: what overlaps it can't be
    /// had, and every look says so of the same one.
    pub(super) fn overlap(
        &self,
        uid: &str,
        scope: &str,
        routed: bool,
        cidr: IpNetwork,
    ) -> Option<&Arc<Reservation>> {
        let wanted = AddressRange::from(cidr);
        let near = self.subnets.values().filter(|known| known.concerns(scope, routed));
        let others = near.filter(|known| known.reservation.spec.network.uid != uid);
        others
            .filter(|known| {
                is_verified(&known.reservation) && AddressRange::from(known.cidr).overlaps(&wanted)
            })
            .min_by_key(|known| (known.cidr, &known.scope))
            .map(|known| &known.reservation)
    }
}

/// A subnet's Reservation as the overlap check sees it.
pub(super) fn claim_of(reservation: &Reservation) -> Option<SubnetClaim> {
    let Thing::Subnet(scope, cidr) = Thing::of(reservation) else { return None };
    Some(SubnetClaim {
        name: reservation.name_any(),
        owner: reservation.spec.network.uid.clone(),
        cidr,
        scope,
        routed: reservation.spec.routed,
        verified: is_verified(reservation),
        order: order_of(reservation),
    })
}

pub(crate) fn is_verified(reservation: &Reservation) -> bool {
    reservation.status.as_ref().is_some_and(|status| status.verified)
}

pub(crate) fn is_draining(reservation: &Reservation) -> bool {
    reservation.status.as_ref().is_some_and(|status| status.draining)
}
