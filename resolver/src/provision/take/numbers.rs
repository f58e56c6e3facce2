//! Numbers: a MAC code always, a VLAN or a VNI where the class has them.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use knap_core::{MacCode, NumberKind, NumberRanges, reservation};

use super::{Owned, Taker};
use crate::provision::error::ProvisionError;
use crate::provision::reserved::Thing;
use crate::store::Store;

impl<S: Store> Taker<'_, S> {
    pub(super) async fn mac_code(&mut self) -> Result<MacCode, ProvisionError> {
        if let Some(code) = self.same_mac_code() {
            let name = reservation::mac_name(code);
            self.exactly(&name, self.spec(), &format!("MAC code {code}")).await?;
            return Ok(code);
        }
        for code in self.mac_codes() {
            if self.is_theirs(code) {
                continue;
            }
            if let Owned::Ours(_) = self.create(&reservation::mac_name(code), self.spec()).await? {
                return Ok(code);
            }
        }
        Err(self.no_mac_code())
    }

    /// The MAC code that it would get, as far as the picture goes.
    pub(super) fn likely_mac_code(&self) -> Result<MacCode, ProvisionError> {
        let likely = self.same_mac_code().or_else(|| self.mac_codes().find(|code| !self.is_theirs(*code)));
        likely.ok_or_else(|| self.no_mac_code())
    }

    /// The one that it was granted.
    fn same_mac_code(&self) -> Option<MacCode> {
        self.granted.mac_code.filter(|code| self.is_fixed() || self.held_mac_codes().contains(code))
    }

    /// All of them, in the order in which they are tried.
    fn mac_codes(&self) -> impl Iterator<Item = MacCode> + use<S> {
        // Where the search begins says nothing to anybody: it only keeps two Networks from beginning alike.
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let [first, second, ..] = hasher.hash_one(&self.intent.owner.uid).to_be_bytes();
        let start = u16::from_be_bytes([first, second]);
        let codes = (0..=u16::MAX).filter_map(move |step| MacCode::new(start.wrapping_add(step)));
        self.held_mac_codes().into_iter().chain(codes)
    }

    fn held_mac_codes(&self) -> Vec<MacCode> {
        self.held(|thing| match thing {
            Thing::MacCode(code) => Some(*code),
            _ => None,
        })
    }

    fn is_theirs(&self, code: MacCode) -> bool {
        let ours = || self.reserved.named(&self.intent.owner.uid, &reservation::mac_name(code)).is_some();
        self.reserved.has_mac_code(code) && !ours()
    }

    fn no_mac_code(&self) -> ProvisionError {
        self.exhausted("MAC code of the cluster's 65,280")
    }

    /// The numbers that running attachments use, whatever the class says now.
    pub(super) async fn same_numbers(&mut self) -> Result<(), ProvisionError> {
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
        Ok(())
    }

    /// The number that is held, or the first that nobody has; none where the class has none.
    pub(super) async fn number(&mut self, kind: NumberKind) -> Result<Option<u32>, ProvisionError> {
        let mut candidate = self.likely(kind)?;
        while let Some(value) = candidate {
            let name = self.name_of(kind, value);
            if let Owned::Ours(_) = self.create(&name, self.spec()).await? {
                break;
            }
            candidate = self.free_number(kind)?;
        }
        Ok(candidate)
    }

    /// The number that it would get, as far as the picture goes.
    pub(super) fn likely(&self, kind: NumberKind) -> Result<Option<u32>, ProvisionError> {
        let held = self.held(|thing| match (kind, thing) {
            (NumberKind::Vlan, Thing::Vlan(fabric, vlan)) if *fabric == self.class.fabric => {
                Some(u32::from(*vlan))
            }
            (NumberKind::Vni, Thing::Vni(vni)) => Some(*vni),
            _ => None,
        });
        let ranges = self.ranges(kind);
        match held.into_iter().find(|held| ranges.is_some_and(|ranges| ranges.contains(*held))) {
            Some(held) => Ok(Some(held)),
            None => self.free_number(kind),
        }
    }

    fn free_number(&self, kind: NumberKind) -> Result<Option<u32>, ProvisionError> {
        let Some(ranges) = self.ranges(kind) else { return Ok(None) };
        let free = match kind {
            NumberKind::Vlan => ranges.first_free(&self.reserved.vlans(&self.class.fabric)),
            NumberKind::Vni => ranges.first_free(self.reserved.vnis()),
        };
        free.map(Some).ok_or_else(|| self.exhausted(&kind.to_string()))
    }

    const fn ranges(&self, kind: NumberKind) -> Option<&NumberRanges> {
        match kind {
            NumberKind::Vlan => self.needs.vlans.as_ref(),
            NumberKind::Vni => self.needs.vnis.as_ref(),
        }
    }

    fn name_of(&self, kind: NumberKind, value: u32) -> String {
        match kind {
            // VLANs go to 4094.
            NumberKind::Vlan => {
                reservation::vlan_name(&self.class.fabric, u16::try_from(value).unwrap_or(u16::MAX))
            }
            NumberKind::Vni => reservation::vni_name(value),
        }
    }
}
