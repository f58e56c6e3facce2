//! Third step: reserve what the Network needs. Every thing is taken by creating its Reservation; what is the
//! Network's already is kept.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use ipnetwork::IpNetwork;
use knap_api::{Reservation, ReservationSpec, ReservedFor};
use knap_core::{
    Class, Grant, Layout, MacCode, Needs, NetworkIntent, NumberRanges, Subnet, SubnetNeed, carve, reservation,
};
use kube::ResourceExt;

use super::error::ProvisionError;
use super::granted::Granted;
use super::reserved::{Reserved, Thing, is_draining, is_verified};
use super::verify::{self, Verdict};
use crate::fault;
use crate::store::{ObjectName, Store, StoreError};

/// Takes what one Network needs.
pub(super) struct Taker<'a, S> {
    pub(super) store: &'a S,
    pub(super) reserved: &'a mut Reserved,
    pub(super) intent: &'a NetworkIntent,
    pub(super) class: &'a Class,
    pub(super) needs: &'a Needs,
    /// What the status records.
    pub(super) granted: &'a Granted,
    /// Attachments run: what they use stays exactly as it is, and only subnets are added.
    pub(super) fixed: bool,
    /// Names of the Reservations that the grant is made of.
    pub(super) used: Vec<String>,
}

/// Whose a Reservation is, after a create.
enum Owned {
    Ours(Arc<Reservation>),
    Theirs(Arc<Reservation>),
}

impl<S: Store> Taker<'_, S> {
    /// Takes everything, and says what that makes.
    pub(super) async fn take(&mut self) -> Result<Grant, ProvisionError> {
        let mac_code = self.mac_code().await?;
        let (vlan, vni) =
            if self.fixed { self.same_numbers().await? } else { (self.vlan().await?, self.vni().await?) };
        for name in self.needs.exclusive.clone() {
            self.exactly(&name, self.spec(), &name).await?;
        }
        let scope = self.needs.address_scope(mac_code, vlan, vni);
        let layout = self.layout(&scope).await?;
        fault::point("provision-reserved");
        Ok(Grant { mac_code, vlan, vni, layout })
    }

    async fn mac_code(&mut self) -> Result<MacCode, ProvisionError> {
        let held = self.held(|thing| match thing {
            Thing::MacCode(code) => Some(*code),
            _ => None,
        });
        if let Some(code) = self.granted.mac_code.filter(|code| self.fixed || held.contains(code)) {
            let name = reservation::mac_name(code);
            self.exactly(&name, self.spec(), &format!("MAC code {code}")).await?;
            return Ok(code);
        }
        // Where the search begins says nothing to anybody: it only keeps two Networks from beginning alike.
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let [first, second, ..] = hasher.hash_one(&self.intent.owner.uid).to_be_bytes();
        let start = u16::from_be_bytes([first, second]);
        let codes = (0..=u16::MAX).filter_map(|step| MacCode::new(start.wrapping_add(step)));
        for code in held.into_iter().chain(codes) {
            let name = reservation::mac_name(code);
            let ours = self.reserved.named(&self.intent.owner.uid, &name).is_some();
            if !ours && self.reserved.has_mac_code(code) {
                continue;
            }
            if let Owned::Ours(_) = self.create(&name, self.spec()).await? {
                return Ok(code);
            }
        }
        Err(self.exhausted("MAC code of the cluster's 65,280"))
    }

    /// The numbers that running attachments use, whatever the class says now.
    async fn same_numbers(&mut self) -> Result<(Option<u16>, Option<u32>), ProvisionError> {
        if let Some(vlan) = self.granted.vlan {
            let fabric = self.held(|thing| match thing {
                Thing::Vlan(fabric, held) if *held == vlan => Some(fabric.clone()),
                _ => None,
            });
            let name = reservation::vlan_name(fabric.first().unwrap_or(&self.class.fabric), vlan);
            self.exactly(&name, self.spec(), &format!("VLAN {vlan}")).await?;
        }
        if let Some(vni) = self.granted.vni {
            self.exactly(&reservation::vni_name(vni), self.spec(), &format!("VNI {vni}")).await?;
        }
        Ok((self.granted.vlan, self.granted.vni))
    }

    async fn vlan(&mut self) -> Result<Option<u16>, ProvisionError> {
        let Some(ranges) = self.needs.vlans.clone() else { return Ok(None) };
        let fabric = self.class.fabric.clone();
        let held = self.held(|thing| match thing {
            Thing::Vlan(on, vlan) if *on == fabric => Some(u32::from(*vlan)),
            _ => None,
        });
        let name = |vlan: u32| u16::try_from(vlan).ok().map(|vlan| reservation::vlan_name(&fabric, vlan));
        let taken = |reserved: &Reserved| reserved.vlans(&fabric);
        let vlan = self.number(&ranges, held, name, taken, "VLAN").await?;
        Ok(u16::try_from(vlan).ok())
    }

    async fn vni(&mut self) -> Result<Option<u32>, ProvisionError> {
        let Some(ranges) = self.needs.vnis.clone() else { return Ok(None) };
        let held = self.held(|thing| match thing {
            Thing::Vni(vni) => Some(*vni),
            _ => None,
        });
        let name = |vni| Some(reservation::vni_name(vni));
        self.number(&ranges, held, name, |reserved| reserved.vnis().clone(), "VNI").await.map(Some)
    }

    /// The number that is held, or the first that nobody has.
    async fn number(
        &mut self,
        ranges: &NumberRanges,
        held: Vec<u32>,
        name: impl Fn(u32) -> Option<String>,
        taken: impl Fn(&Reserved) -> std::collections::BTreeSet<u32>,
        what: &str,
    ) -> Result<u32, ProvisionError> {
        let mut candidate = held.into_iter().find(|number| ranges.contains(*number));
        loop {
            let number = candidate.take().or_else(|| ranges.first_free(&taken(self.reserved)));
            let Some((number, name)) = number.and_then(|number| Some((number, name(number)?))) else {
                return Err(self.exhausted(what));
            };
            if let Owned::Ours(_) = self.create(&name, self.spec()).await? {
                return Ok(number);
            }
        }
    }

    /// Subnets: those that the status records first, at their slots; the others after them.
    async fn layout(&mut self, scope: &str) -> Result<Layout, ProvisionError> {
        let mut subnets = Vec::new();
        if self.fixed {
            for subnet in self.granted.subnets.clone() {
                let held = self.held(|thing| match thing {
                    Thing::Subnet(scope, cidr) if *cidr == subnet.cidr => Some(scope.clone()),
                    _ => None,
                });
                self.requested(subnet.cidr, held.first().map_or(scope, String::as_str)).await?;
                subnets.push(subnet);
            }
        }
        let mut added = Vec::new();
        for need in self.needs.subnets.clone() {
            let there: Vec<IpNetwork> =
                subnets.iter().chain(&added).map(|subnet: &Subnet| subnet.cidr).collect();
            let subnet = match need.requested {
                Some(cidr) if there.contains(&cidr) => continue,
                Some(cidr) => self.asked_for(&need, cidr, scope).await?,
                None if self.fixed => continue,
                None => self.carved(&need, scope, &there).await?,
            };
            added.push(subnet);
        }
        if subnets.is_empty() && added.is_empty() {
            return Ok(Layout::without_addresses());
        }
        // A subnet keeps its slots for as long as the Network keeps the subnet.
        let (known, new): (Vec<Subnet>, Vec<Subnet>) =
            added.into_iter().partition(|subnet| self.granted.subnet(subnet.cidr).is_some());
        subnets.extend(known.into_iter().filter_map(|subnet| {
            let slot_base = self.granted.subnet(subnet.cidr)?.slot_base;
            Some(Subnet { slot_base, ..subnet })
        }));
        let mut layout = Layout::new(subnets, self.intent.reserved.clone())?;
        for subnet in new {
            layout.append(subnet)?;
        }
        Ok(layout)
    }

    async fn asked_for(
        &mut self,
        need: &SubnetNeed,
        cidr: IpNetwork,
        scope: &str,
    ) -> Result<Subnet, ProvisionError> {
        self.requested(cidr, scope).await?;
        let pool = need.pools.iter().find(|pool| pool.cidr().contains(cidr.network()));
        Ok(pool
            .map_or_else(|| Subnet::new(cidr, None, None), |pool| pool.subnet(cidr, need.gateway_by_default)))
    }

    /// Exactly this subnet, or why not.
    async fn requested(&mut self, cidr: IpNetwork, scope: &str) -> Result<(), ProvisionError> {
        let name = reservation::subnet_name(scope, cidr);
        let uid = &self.intent.owner.uid;
        if self.reserved.named(uid, &name).is_none()
            && let Some(other) = self.reserved.overlap(uid, scope, self.needs.routed, cidr)
        {
            return Err(conflict(cidr, other));
        }
        match self.subnet(&name, cidr, scope).await? {
            Verdict::Verified => Ok(()),
            Verdict::Conflict(other) => Err(conflict(cidr, &other)),
        }
    }

    /// What is held and still fits, or the first unit that nobody has.
    async fn carved(
        &mut self,
        need: &SubnetNeed,
        scope: &str,
        there: &[IpNetwork],
    ) -> Result<Subnet, ProvisionError> {
        let held = self.held(|thing| match thing {
            Thing::Subnet(of, cidr) if of == scope && !there.contains(cidr) => Some(*cidr),
            _ => None,
        });
        for pool in &need.pools {
            let is_unit = |cidr: &IpNetwork| {
                cidr.prefix() == pool.prefix_length() && pool.cidr().contains(cidr.network())
            };
            let mut candidate = held.iter().copied().find(is_unit);
            let mut in_the_way = Vec::new();
            loop {
                let taken = || {
                    let mut taken = self.reserved.subnets(scope, self.needs.routed);
                    taken.extend(&in_the_way);
                    taken
                };
                let Some(cidr) = candidate.take().or_else(|| carve(pool, &taken())) else { break };
                let name = reservation::subnet_name(scope, cidr);
                match self.subnet(&name, cidr, scope).await? {
                    Verdict::Verified => return Ok(pool.subnet(cidr, need.gateway_by_default)),
                    Verdict::Conflict(other) => in_the_way.extend([cidr].into_iter().chain(cidr_of(&other))),
                }
            }
        }
        let what = need.pools.iter().map(|pool| format!("/{} of {}", pool.prefix_length(), pool.cidr()));
        Err(self.exhausted(&format!("subnet ({})", what.collect::<Vec<_>>().join(", "))))
    }

    /// Takes and verifies one subnet. On a conflict nothing of it is left.
    async fn subnet(&mut self, name: &str, cidr: IpNetwork, scope: &str) -> Result<Verdict, ProvisionError> {
        let spec = ReservationSpec {
            cidr: Some(cidr.to_string()),
            scope: Some(scope.to_owned()),
            routed: self.needs.routed,
            ..self.spec()
        };
        let ours = match self.create(name, spec).await? {
            Owned::Ours(ours) if is_verified(&ours) => return Ok(Verdict::Verified),
            Owned::Ours(ours) => ours,
            Owned::Theirs(theirs) => return Ok(Verdict::Conflict(theirs)),
        };
        let verdict = verify::verify(self.store, &ours, self.reserved).await?;
        if matches!(verdict, Verdict::Conflict(_)) {
            self.used.retain(|used| used != name);
        }
        fault::point("provision-verified");
        Ok(verdict)
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

fn conflict(cidr: IpNetwork, other: &Reservation) -> ProvisionError {
    ProvisionError::Conflict {
        cidr,
        other: cidr_of(other).unwrap_or(cidr),
        owner: owner_of(other),
        drains: if is_draining(other) { ", which is deleted but still has attachments" } else { "" },
    }
}

fn cidr_of(reservation: &Reservation) -> Option<IpNetwork> {
    reservation.spec.cidr.as_ref()?.parse().ok()
}

fn owner_of(reservation: &Reservation) -> String {
    format!("{}/{}", reservation.spec.network.namespace, reservation.spec.network.name)
}
