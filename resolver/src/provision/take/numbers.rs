//! Numbers: a MAC code always, a VLAN or a VNI where the class has them.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use knap_core::{MacCode, NumberRanges, reservation};

use super::{Owned, Taker};
use crate::provision::error::ProvisionError;
use crate::provision::reserved::{Reserved, Thing};
use crate::store::Store;

impl<S: Store> Taker<'_, S> {
    pub(super) async fn mac_code(&mut self) -> Result<MacCode, ProvisionError> {
        let held = self.held(|thing| match thing {
            Thing::MacCode(code) => Some(*code),
            _ => None,
        });
        if let Some(code) = self.granted.mac_code.filter(|code| self.is_fixed() || held.contains(code)) {
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
    pub(super) async fn same_numbers(&mut self) -> Result<(Option<u16>, Option<u32>), ProvisionError> {
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

    pub(super) async fn vlan(&mut self) -> Result<Option<u16>, ProvisionError> {
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

    pub(super) async fn vni(&mut self) -> Result<Option<u32>, ProvisionError> {
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
        taken: impl Fn(&Reserved) -> BTreeSet<u32>,
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
}
