//! Subnets: those that the status records at their slots, requested ones, carved ones; each verified before it counts.

use std::sync::Arc;

use ipnetwork::IpNetwork;
use knap_api::{Reservation, ReservationSpec};
use knap_core::{AddressRange, Layout, LayoutError, Pool, Subnet, SubnetNeed, carve, reservation};

use super::{Owned, Taker, fixed, owner_of};
use crate::fault;
use crate::provision::error::ProvisionError;
use crate::provision::reserved::{Thing, is_draining, is_verified};
use crate::provision::retire::{Retired, keep, retire};
use crate::provision::verify::{self, Verdict};
use crate::store::Store;

impl<S: Store> Taker<'_, S> {
    /// Subnets: those that the status records first, at their slots; the others after them.
    pub(super) async fn layout(&mut self, scope: &str) -> Result<Layout, ProvisionError> {
        let subnets = self.kept();
        for subnet in &subnets {
            self.requested(subnet.cidr, scope, &[]).await?;
        }
        let mut added = Vec::new();
        for need in self.needs.subnets.clone() {
            let there = cidrs(subnets.iter().chain(&added));
            let subnet = match need.requested {
                Some(cidr) if there.contains(&cidr) => continue,
                Some(cidr) => self.asked_for(&need, cidr, scope).await?,
                None if self.is_fixed() => continue,
                None => self.carved(&need, scope, &there).await?,
            };
            added.push(subnet);
        }
        Ok(self.arranged(subnets, added)?)
    }

    /// The same, as far as the picture goes.
    pub(super) fn likely_layout(&self, scope: &str) -> Result<Layout, ProvisionError> {
        let subnets = self.kept();
        for subnet in &subnets {
            self.check_requested(subnet.cidr, scope, &[])?;
        }
        let mut added = Vec::new();
        for need in &self.needs.subnets {
            let there = cidrs(subnets.iter().chain(&added));
            let subnet = match need.requested {
                Some(cidr) if there.contains(&cidr) => continue,
                Some(cidr) => {
                    self.check_requested(cidr, scope, &need.pools)?;
                    subnet_of(need, cidr)
                }
                None if self.is_fixed() => continue,
                None => self.candidate(need, scope, &there)?,
            };
            added.push(subnet);
        }
        Ok(self.arranged(subnets, added)?)
    }

    /// What attachments use.
    fn kept(&self) -> Vec<Subnet> {
        if self.is_fixed() { self.granted.subnets.clone() } else { Vec::new() }
    }

    /// What attachments use keeps its scope and its size.
    pub(super) fn check_in_use(&self, scope: &str) -> Result<(), ProvisionError> {
        if !self.is_fixed() {
            return Ok(());
        }
        for subnet in &self.granted.subnets {
            let scopes = self.held(|thing| match thing {
                Thing::Subnet(scope, cidr) if *cidr == subnet.cidr => Some(scope.clone()),
                _ => None,
            });
            if let Some(other) = scopes.first().filter(|_| !scopes.iter().any(|held| held == scope)) {
                return Err(fixed("the address scope", other, scope, self.leases));
            }
            let in_use = AddressRange::from(subnet.cidr);
            let resized = self.needs.subnets.iter().filter_map(|need| need.requested).find(|requested| {
                *requested != subnet.cidr && AddressRange::from(*requested).overlaps(&in_use)
            });
            if let Some(resized) = resized {
                return Err(fixed("a subnet", &subnet.cidr.to_string(), &resized.to_string(), self.leases));
            }
        }
        Ok(())
    }

    /// Subnets at the slots that they have, and others after them.
    fn arranged(&self, mut subnets: Vec<Subnet>, added: Vec<Subnet>) -> Result<Layout, LayoutError> {
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
        self.requested(cidr, scope, &need.pools).await?;
        Ok(subnet_of(need, cidr))
    }

    /// Exactly this subnet, or why not; with one of the pools that would do as well.
    async fn requested(
        &mut self,
        cidr: IpNetwork,
        scope: &str,
        pools: &[Pool],
    ) -> Result<(), ProvisionError> {
        self.check_requested(cidr, scope, pools)?;
        let name = reservation::subnet_name(scope, cidr);
        match self.subnet(&name, cidr, scope).await? {
            Verdict::Verified => Ok(()),
            Verdict::Conflict(other) => Err(conflict(cidr, &other, self.free(pools, cidr.prefix(), scope))),
        }
    }

    /// Why it can't be had, as far as the picture goes.
    fn check_requested(&self, cidr: IpNetwork, scope: &str, pools: &[Pool]) -> Result<(), ProvisionError> {
        let free = || self.free(pools, cidr.prefix(), scope);
        if let Some(conflict) = self.cluster.conflict(cidr, &self.intent.reserved, free) {
            return Err(conflict.into());
        }
        if !self.is_settled(cidr, scope)
            && let Some(other) = self.in_the_way(cidr, scope)
        {
            return Err(conflict(cidr, other, free()));
        }
        Ok(())
    }

    /// Whether it holds a subnet so that it need not be held against others' again.
    fn is_settled(&self, cidr: IpNetwork, scope: &str) -> bool {
        let held = self.reserved.named(&self.intent.owner.uid, &reservation::subnet_name(scope, cidr));
        held.is_some_and(|held| held.spec.routed || !self.needs.routed || self.is_fixed())
    }

    /// What overlaps a subnet so that there is no need to try.
    fn in_the_way(&self, cidr: IpNetwork, scope: &str) -> Option<&Arc<Reservation>> {
        self.reserved.overlap(&self.intent.owner.uid, scope, self.needs.routed, cidr)
    }

    /// What a subnet of this Network has to stay clear of.
    fn taken(&self, scope: &str) -> Vec<IpNetwork> {
        let mut taken = self.reserved.subnets(scope, self.needs.routed);
        taken.extend(self.cluster.taken(&self.intent.reserved));
        taken
    }

    /// A subnet of this size that nobody has.
    fn free(&self, pools: &[Pool], prefix_length: u8, scope: &str) -> Option<IpNetwork> {
        let taken = self.taken(scope);
        pools.iter().find_map(|pool| carve(&pool.in_units_of(prefix_length)?, &taken))
    }

    /// What is held and still fits, or the first unit that nobody has.
    async fn carved(
        &mut self,
        need: &SubnetNeed,
        scope: &str,
        there: &[IpNetwork],
    ) -> Result<Subnet, ProvisionError> {
        let mut in_the_way = there.to_vec();
        loop {
            let subnet = self.candidate(need, scope, &in_the_way)?;
            let name = reservation::subnet_name(scope, subnet.cidr);
            match self.subnet(&name, subnet.cidr, scope).await? {
                Verdict::Verified => return Ok(subnet),
                Verdict::Conflict(other) => {
                    in_the_way.extend([subnet.cidr].into_iter().chain(cidr_of(&other)));
                }
            }
        }
    }

    /// The same, as far as the picture goes, where these are in the way.
    fn candidate(
        &self,
        need: &SubnetNeed,
        scope: &str,
        in_the_way: &[IpNetwork],
    ) -> Result<Subnet, ProvisionError> {
        // Where its class had another scope before, it keeps its subnet in the new one if it can.
        let mut held = self.held(|thing| match thing {
            Thing::Subnet(of, cidr) if !in_the_way.contains(cidr) => Some((of != scope, *cidr)),
            _ => None,
        });
        held.retain(|(_, cidr)| self.is_settled(*cidr, scope) || self.in_the_way(*cidr, scope).is_none());
        held.sort_by_key(|(moves, _)| *moves);
        for pool in &need.pools {
            let is_unit = |cidr: &IpNetwork| {
                cidr.prefix() == pool.prefix_length()
                    && pool.cidr().contains(cidr.network())
                    && self.cluster.conflict(*cidr, &self.intent.reserved, || None).is_none()
            };
            let free = || carve(pool, &[self.taken(scope).as_slice(), in_the_way].concat());
            if let Some(cidr) = held.iter().map(|(_, cidr)| *cidr).find(is_unit).or_else(free) {
                return Ok(pool.subnet(cidr, need.gateway_by_default));
            }
        }
        if let Some(swallowed) = self.swallowed(&need.pools) {
            return Err(swallowed);
        }
        let what = need.pools.iter().map(|pool| format!("/{} of {}", pool.prefix_length(), pool.cidr()));
        Err(self.exhausted(&format!("subnet ({})", what.collect::<Vec<_>>().join(", "))))
    }

    /// That none of these pools holds an address that is not the cluster's own.
    fn swallowed(&self, pools: &[Pool]) -> Option<ProvisionError> {
        let around = pools.iter().map(|pool| Some((pool.cidr(), self.cluster.around(pool.cidr())?)));
        let (pool, network) = around.collect::<Option<Vec<_>>>()?.into_iter().next()?;
        let (class, what) = (self.class.name.clone(), network.what.clone());
        Some(ProvisionError::Swallowed { class, pool, cidr: network.cidr, what })
    }

    /// Takes and verifies one subnet. On a conflict nothing of it is left.
    async fn subnet(&mut self, name: &str, cidr: IpNetwork, scope: &str) -> Result<Verdict, ProvisionError> {
        let spec = ReservationSpec {
            cidr: Some(cidr.to_string()),
            scope: Some(scope.to_owned()),
            routed: self.needs.routed,
            ..self.spec()
        };
        let mut owned = self.create(name, spec.clone()).await?;
        while let Owned::Ours(unrouted) = &owned
            && self.needs.routed
            && !unrouted.spec.routed
        {
            if self.is_fixed() {
                return Err(newly_routed(self.leases));
            }
            if let Some(other) = self.in_the_way(cidr, scope).cloned() {
                self.used.retain(|used| used != name);
                return Ok(Verdict::Conflict(other));
            }
            self.give_up(unrouted).await?;
            owned = self.create(name, spec.clone()).await?;
        }
        let ours = match owned {
            Owned::Ours(ours) if is_verified(&ours) => return Ok(Verdict::Verified),
            Owned::Ours(ours) => ours,
            Owned::Theirs(theirs) => return Ok(Verdict::Conflict(theirs)),
        };
        self.taken = true;
        let verdict = verify::verify(self.store, self.changes, &ours, self.reserved).await?;
        if matches!(verdict, Verdict::Conflict(_)) {
            self.used.retain(|used| used != name);
        }
        fault::point("provision-verified");
        Ok(verdict)
    }

    /// Gives up a subnet that was verified while hosts did not route it: nobody has held it against their routing table.
    async fn give_up(&mut self, unrouted: &Reservation) -> Result<(), ProvisionError> {
        let given_up = vec![unrouted.clone()];
        match retire(self.store, &self.intent.owner.uid, given_up.clone()).await? {
            Retired::Gone => {
                self.reserved.forget(unrouted);
                Ok(())
            }
            // There are leases that the view does not know of yet.
            Retired::Draining { leases } => {
                keep(self.store, given_up).await?;
                Err(newly_routed(leases))
            }
        }
    }
}

fn cidrs<'a>(subnets: impl Iterator<Item = &'a Subnet>) -> Vec<IpNetwork> {
    subnets.map(|subnet| subnet.cidr).collect()
}

/// What a requested subnet is by the pool that it belongs to.
fn subnet_of(need: &SubnetNeed, cidr: IpNetwork) -> Subnet {
    let pool = need.pools.iter().find(|pool| pool.cidr().contains(cidr.network()));
    pool.map_or_else(|| Subnet::new(cidr, None, None), |pool| pool.subnet(cidr, need.gateway_by_default))
}

/// That hosts can't begin to route subnets which attachments use.
fn newly_routed(leases: u32) -> ProvisionError {
    fixed("whether hosts route its subnets", "no", "yes", leases)
}

fn conflict(cidr: IpNetwork, other: &Reservation, free: Option<IpNetwork>) -> ProvisionError {
    ProvisionError::Conflict {
        cidr,
        other: cidr_of(other).unwrap_or(cidr),
        owner: owner_of(other),
        drains: if is_draining(other) { ", which is deleted but still has attachments" } else { "" },
        free,
    }
}

fn cidr_of(reservation: &Reservation) -> Option<IpNetwork> {
    reservation.spec.cidr.as_ref()?.parse().ok()
}
