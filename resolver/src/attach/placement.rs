//! Which leases an attachment needs, worked out from what it asks for. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use knap_core::{IpFamily, Layout, Mac, MacCode, MacSource, Slot, SlotError};

use super::wishes::{WishError, Wishes};

/// What an attachment needs beside a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Placement {
    /// The slots that the wishes imply, each with the families whose addresses come from it. Empty: any slot, with all
    /// families that `far` leaves.
    pub(super) slots: BTreeMap<Slot, Vec<IpFamily>>,
    /// Addresses that no slot stands for.
    pub(super) far: Vec<IpNetwork>,
    /// A MAC address that is not the slot's own.
    pub(super) mac: Option<Mac>,
}

/// Why wishes can't be met.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlacementError {
    #[error(transparent)]
    Wish(#[from] WishError),
    #[error(transparent)]
    Address(#[from] SlotError),
}

/// One lease to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: Slot,
    pub(super) addresses: Vec<IpNetwork>,
}

impl Placement {
    /// Whether not just any slot will do.
    pub(super) fn wishes_something(&self) -> bool {
        !self.slots.is_empty() || !self.far.is_empty() || self.mac.is_some()
    }

    /// From the wishes.
    pub(super) fn of(
        wishes: &Wishes,
        layout: &Layout,
        code: MacCode,
        source: MacSource,
    ) -> Result<Self, PlacementError> {
        let mut placement = Self::default();
        let addressed = !layout.subnets().is_empty();
        // Without addresses of Knap's the wishes are the delegates' to honour.
        for address in wishes.addresses.iter().copied().filter(|_| addressed) {
            placement.place(address, layout)?;
        }
        placement.complete(layout)?;
        if let Some(mac) = wishes.mac {
            placement.place_mac(mac, code, source, layout)?;
        }
        Ok(placement)
    }

    fn place(&mut self, address: IpAddr, layout: &Layout) -> Result<(), SlotError> {
        match layout.slot_of(address) {
            Ok(slot) => self.slots.entry(slot).or_default().push(IpFamily::of(address)),
            Err(SlotError::Beyond24Bits { .. }) => {
                let on_interface = layout.subnet_of(address).and_then(|subnet| subnet.on_interface(address));
                self.far.extend(on_interface);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A family that nothing was asked of gets the address of the first slot that was.
    fn complete(&mut self, layout: &Layout) -> Result<(), WishError> {
        let missing: Vec<IpFamily> = self.families_without_wish(layout);
        let Some((slot, families)) = self.slots.iter_mut().next() else { return Ok(()) };
        for family in missing {
            if !layout.usable_slots().contains(*slot) {
                return Err(WishError::NoCounterpart { slot: *slot, family });
            }
            families.push(family);
        }
        families.sort_unstable();
        Ok(())
    }

    fn families_without_wish(&self, layout: &Layout) -> Vec<IpFamily> {
        let asked = |family: IpFamily| {
            self.slots.values().flatten().any(|asked| *asked == family)
                || self.far.iter().any(|far| IpFamily::of(far.ip()) == family)
        };
        let has = |family: IpFamily| layout.subnets().iter().any(|subnet| subnet.family() == family);
        IpFamily::ALL.into_iter().filter(|family| has(*family) && !asked(*family)).collect()
    }

    fn place_mac(
        &mut self,
        mac: Mac,
        code: MacCode,
        source: MacSource,
        layout: &Layout,
    ) -> Result<(), WishError> {
        if source == MacSource::Device {
            return Err(WishError::DeviceMac);
        }
        if !mac.has_knap_prefix() {
            self.mac = Some(mac);
            return Ok(());
        }
        let own =
            mac.code_and_slot().filter(|(of, slot)| *of == code && layout.usable_slots().contains(*slot));
        let Some((_, of_mac)) = own else { return Err(WishError::ForeignSlot { mac }) };
        match self.slots.keys().next() {
            Some(first) if *first == of_mac => {}
            Some(first) => return Err(WishError::OtherSlot { mac, of_mac, of_address: *first }),
            None => {
                let families = self.families_without_wish(layout);
                self.slots.insert(of_mac, families);
            }
        }
        Ok(())
    }

    /// The leases, where the wishes say which; in the order in which they are to be made.
    pub(super) fn places(&self, layout: &Layout) -> Vec<Place> {
        let mut far = self.far.clone();
        let places = self.slots.iter().map(|(slot, families)| {
            let of_slot = families.iter().filter_map(|family| layout.address(*slot, *family));
            let mut addresses: Vec<IpNetwork> = of_slot.chain(far.drain(..)).collect();
            addresses.sort_by_key(|address| IpFamily::of(address.ip()));
            Place { slot: *slot, addresses }
        });
        places.collect()
    }

    /// The one lease on a slot that nothing was asked of.
    pub(super) fn at(&self, slot: Slot, layout: &Layout) -> Place {
        let families = self.families_without_wish(layout);
        let of_slot = families.into_iter().filter_map(|family| layout.address(slot, family));
        let mut addresses: Vec<IpNetwork> = of_slot.chain(self.far.iter().copied()).collect();
        addresses.sort_by_key(|address| IpFamily::of(address.ip()));
        Place { slot, addresses }
    }
}
