//! All leases in little memory: per Network which slots are taken and by whom, never the objects themselves.
//!
//! The index proposes; only the store's answer to a create decides (design: the one rule for everything scarce).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use knap_api::{NetworkLease, RESERVATIONS_ANNOTATION};
use knap_core::{Slot, SlotRanges};
use knap_protocol::NetworkName;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::holder::{HolderHash, attempt_hash};
use super::names::Names;
use super::network_slots::{Held, Identity, NetworkSlots, Record};
use crate::store::Preconditions;

/// A lease as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseRef {
    /// The Network whose name the lease carries.
    pub network: NetworkName,
    /// Its slot there.
    pub slot: Slot,
}

impl LeaseRef {
    /// The lease's name, `shop.blue-5`.
    pub fn name(&self) -> String {
        knap_core::reservation::lease_name(self.network.namespace(), self.network.name(), self.slot)
    }
}

/// A slot that has a lease, and the attempt that holds it.
#[derive(Debug, Clone, Copy)]
pub struct KnownSlot {
    slot: Slot,
    attempt: Option<u64>,
}

/// The index of all leases.
#[derive(Debug, Default)]
pub struct LeaseIndex {
    index: Mutex<Index>,
    /// What a restarted watch has told so far.
    gathered: Mutex<Option<Index>>,
    /// The latest change that the watch has told, by its resourceVersion.
    told: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Index {
    names: Names,
    networks: HashMap<u32, NetworkSlots>,
    /// (holder, network, slot): finds the leases of an attachment.
    holders: BTreeSet<(HolderHash, u32, u32)>,
    /// Per namespace of pods, the attachments in each Network.
    namespaces: HashMap<u32, HashMap<u32, u32>>,
    /// Per node and boot, how many holders of leases there are.
    boots: HashMap<(u32, u32), u32>,
    /// Per Network UID: the name may have passed to another Network while these leases run.
    uids: HashMap<u32, u32>,
    leases: usize,
    /// The latest version that the watch has told: what an answer shows of an earlier one may be long past.
    told: u64,
}

impl LeaseIndex {
    /// Remembers a lease that an answer of the store shows, before the watch tells it. What the watch has passed by then it knows
    /// better: the lease may be gone.
    pub fn insert(&self, lease: &NetworkLease) {
        self.index.lock().insert_news(lease);
    }

    /// The watch tells a lease that is new or changed.
    pub(super) fn tell(&self, lease: &NetworkLease) {
        {
            let mut index = self.index.lock();
            index.told = index.told.max(version_of(lease));
            index.insert(lease);
        }
        self.note(lease);
    }

    /// The watch tells that a lease is gone. True if no lease of its Network's UID is left.
    pub(super) fn tell_gone(&self, lease: &NetworkLease) -> bool {
        let drained = {
            let mut index = self.index.lock();
            index.told = index.told.max(version_of(lease));
            index.remove(lease)
        };
        self.note(lease);
        drained
    }

    /// Forgets a lease that is gone. True if no lease of its Network's UID is left.
    pub fn remove(&self, lease: &NetworkLease) -> bool {
        self.index.lock().remove(lease)
    }

    /// Says which slots of a Network can be given out; no slot is proposed before.
    pub fn offer(&self, network: &NetworkName, usable: &SlotRanges) {
        self.index.lock().offer(network, usable);
    }

    /// Forgets what a Network offered: it is gone. Its leases stay known.
    pub fn withdraw_offer(&self, network: &NetworkName) {
        let mut index = self.index.lock();
        if let Some(slots) = index.names.find(&network.to_string()).and_then(|id| index.networks.get_mut(&id))
        {
            slots.withdraw_offer();
        }
    }

    /// Proposes a free slot, at or after the one that `start` hashes to, and keeps it from being proposed again until
    /// it is given back or its lease goes.
    pub fn propose(&self, network: &NetworkName, start: u32) -> Option<Slot> {
        let mut index = self.index.lock();
        let id = index.names.find(&network.to_string())?;
        index.networks.get_mut(&id)?.propose(start)
    }

    /// Keeps a slot that was asked for from being proposed to others. False if it is taken or not usable.
    pub fn claim(&self, network: &NetworkName, slot: Slot) -> bool {
        let mut index = self.index.lock();
        let id = index.names.find(&network.to_string());
        id.and_then(|id| index.networks.get_mut(&id)).is_some_and(|slots| slots.claim(slot))
    }

    /// Gives back a slot that was proposed or claimed and for which no lease was made.
    pub fn give_back(&self, network: &NetworkName, slot: Slot) {
        let mut index = self.index.lock();
        if let Some(slots) = index.names.find(&network.to_string()).and_then(|id| index.networks.get_mut(&id))
        {
            slots.give_back(slot);
        }
    }

    /// Corrects what is known of a Network by a consistent list of its leases: `before` is what was known when the list
    /// began, so that leases made meanwhile stay.
    pub fn correct(&self, network: &NetworkName, before: &[KnownSlot], listed: &[NetworkLease]) {
        let there: HashSet<u32> = listed.iter().map(|lease| lease.spec.slot).collect();
        let mut index = self.index.lock();
        for lease in listed {
            index.insert_news(lease);
        }
        for known in before.iter().filter(|known| !there.contains(&known.slot.get())) {
            let network = network.to_string();
            let now = index.names.find(&network).and_then(|id| index.networks.get(&id)?.record(known.slot));
            if now.is_some_and(|now| now.attempt() == known.attempt) {
                index.remove_at(&network, known.slot);
            }
        }
    }

    /// Slots of a Network that have leases, each with whose.
    pub fn known_slots(&self, network: &NetworkName) -> Vec<KnownSlot> {
        let index = self.index.lock();
        let slots = index.names.find(&network.to_string()).and_then(|id| index.networks.get(&id));
        let known = slots.into_iter().flat_map(NetworkSlots::records);
        known.map(|(slot, record)| KnownSlot { slot, attempt: record.attempt() }).collect()
    }

    /// Leases of one attempt of an attachment. Hashes may collide: the lease decides.
    pub fn of_holder(&self, holder: HolderHash, attempt: &str) -> Vec<LeaseRef> {
        let index = self.index.lock();
        let places = index.places(holder, attempt_hash(attempt));
        places.filter_map(|(network, slot)| index.lease_ref(network, slot)).collect()
    }

    /// What a lease must still be to be deleted without having been read: exactly what this attempt, alone, is known to hold,
    /// with nothing beside it.
    pub fn unread(
        &self,
        lease: &LeaseRef,
        node: &str,
        holder: HolderHash,
        attempt: &str,
    ) -> Option<Preconditions> {
        let index = self.index.lock();
        let network = index.names.find(&lease.network.to_string())?;
        let (node, attempt) = (index.names.find(node)?, attempt_hash(attempt));
        let record = index.networks.get(&network)?.record(lease.slot)?;
        let is_its = |held: &Held| held.holder == holder && held.attempt == attempt && held.node == node;
        record.holders().all(is_its).then_some(record.plain?.preconditions())
    }

    /// Forgets a lease that was deleted unread.
    pub fn forget(&self, lease: &LeaseRef, attempt: &str) {
        let mut index = self.index.lock();
        let attempt = attempt_hash(attempt);
        let network = index.names.find(&lease.network.to_string());
        let slots = network.and_then(|network| index.networks.get(&network));
        let record = slots.and_then(|slots| slots.record(lease.slot));
        if record.is_some_and(|record| record.holders().any(|held| held.attempt == attempt)) {
            index.remove_at(&lease.network.to_string(), lease.slot);
        }
    }

    /// Leases held on a node, each with its holder's hash.
    pub fn on_node(&self, node: &str) -> Vec<(LeaseRef, HolderHash)> {
        let index = self.index.lock();
        let Some(node) = index.names.find(node) else { return Vec::new() };
        let mut found = Vec::new();
        for (network, slots) in &index.networks {
            for (slot, held) in slots.holders().filter(|(_, held)| held.node == node) {
                found.extend(index.lease_ref(*network, slot).map(|lease| (lease, held.holder)));
            }
        }
        found
    }

    /// Whether anything on a node holds a lease; of one boot, or of any.
    pub fn holds(&self, node: &str, boot: Option<&str>) -> bool {
        let index = self.index.lock();
        let Some(node) = index.names.find(node) else { return false };
        match boot {
            Some(boot) => index.names.find(boot).is_some_and(|boot| index.boots.contains_key(&(node, boot))),
            None => index.boots.keys().any(|(of, _)| *of == node),
        }
    }

    /// Whether there is a lease of this name.
    pub fn knows(&self, name: &str) -> bool {
        let Some((namespace, (network, slot))) =
            name.split_once('.').and_then(|(namespace, rest)| Some((namespace, rest.rsplit_once('-')?)))
        else {
            return false;
        };
        let index = self.index.lock();
        let network = index.names.find(&format!("{namespace}/{network}"));
        let slots = network.and_then(|network| index.networks.get(&network));
        let slot = slot.parse().ok().and_then(Slot::new);
        slots.zip(slot).is_some_and(|(slots, slot)| slots.record(slot).is_some())
    }

    /// Leases that nobody holds.
    pub fn unheld(&self) -> Vec<LeaseRef> {
        let index = self.index.lock();
        let unheld = index
            .networks
            .iter()
            .flat_map(|(network, slots)| slots.unheld().filter_map(|slot| index.lease_ref(*network, slot)));
        unheld.collect()
    }

    /// Leases held by boots of a node.
    pub fn of_boots(&self, node: &str, boots: &[&str]) -> Vec<LeaseRef> {
        let index = self.index.lock();
        let Some(node) = index.names.find(node) else { return Vec::new() };
        let boots = boots.iter().filter_map(|boot| index.names.find(boot));
        let boots: Vec<u32> = boots.filter(|boot| index.boots.contains_key(&(node, *boot))).collect();
        if boots.is_empty() {
            return Vec::new();
        }
        let mut found = BTreeSet::new();
        for (network, slots) in &index.networks {
            let of_these = |held: &Held| held.node == node && boots.contains(&held.boot);
            for (slot, _) in slots.holders().filter(|(_, held)| of_these(held)) {
                found.extend(index.lease_ref(*network, slot));
            }
        }
        found.into_iter().collect()
    }

    /// Slots of a Network that have leases.
    pub fn slots(&self, network: &NetworkName) -> Vec<Slot> {
        let index = self.index.lock();
        let id = index.names.find(&network.to_string());
        id.and_then(|id| index.networks.get(&id)).map(|slots| slots.taken().collect()).unwrap_or_default()
    }

    /// Slots of a Network whose leases carry its UID: of this very Network, not of an earlier one of its name.
    pub fn slots_of(&self, network: &NetworkName, uid: &str) -> Vec<Slot> {
        let index = self.index.lock();
        let (Some(id), Some(uid)) = (index.names.find(&network.to_string()), index.names.find(uid)) else {
            return Vec::new();
        };
        let slots = index.networks.get(&id).map(|slots| slots.taken_by(uid).collect());
        slots.unwrap_or_default()
    }

    /// How many leases a Network's UID has.
    pub fn count_of_uid(&self, uid: &str) -> u32 {
        let index = self.index.lock();
        index.names.find(uid).and_then(|uid| index.uids.get(&uid)).copied().unwrap_or_default()
    }

    /// How many attachments pods of a namespace have in the Networks that `counts` selects, those in `pending`
    /// included that have no lease yet. One look, so that none is counted twice, and none not at all.
    pub fn count_of_namespace<'a>(
        &self,
        namespace: &str,
        counts: impl Fn(&NetworkName) -> bool,
        pending: impl IntoIterator<Item = &'a (HolderHash, u64)>,
    ) -> usize {
        let index = self.index.lock();
        let pending =
            pending.into_iter().filter(|(holder, attempt)| index.places(*holder, *attempt).next().is_none());
        let networks =
            index.names.find(namespace).and_then(|id| index.namespaces.get(&id)).into_iter().flatten();
        let of_these = networks.filter(|(network, _)| {
            let name = index.names.text(**network).and_then(|name| name.parse().ok());
            name.is_some_and(|name| counts(&name))
        });
        pending.count() + of_these.map(|(_, count)| *count as usize).sum::<usize>()
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.index.lock().leases
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the watch has told all changes up to a position of the store.
    pub async fn told_up_to(&self, position: u64) {
        // The sender lives as long as `self`: the wait can't fail.
        let _ = self.told.subscribe().wait_for(|told| *told >= position).await;
    }

    /// The watch has told this change, after all earlier ones.
    fn note(&self, lease: &NetworkLease) {
        let version = version_of(lease);
        self.told.send_if_modified(|told| *told < version && std::mem::replace(told, version) < version);
    }

    /// A watch begins anew: leases are gathered aside until it is complete.
    pub(super) fn restart(&self) {
        *self.gathered.lock() = Some(Index::default());
    }

    pub(super) fn gather(&self, lease: &NetworkLease) {
        if let Some(gathered) = self.gathered.lock().as_mut() {
            gathered.told = gathered.told.max(version_of(lease));
            gathered.insert(lease);
        }
    }

    /// Puts what was gathered in place of what was known. The offers stay.
    pub(super) fn complete(&self) {
        let Some(mut fresh) = self.gathered.lock().take() else { return };
        let mut index = self.index.lock();
        let before = std::mem::take(&mut *index);
        fresh.told = fresh.told.max(before.told);
        for (id, slots) in before.networks {
            if let Some(name) = before.names.text(id).filter(|_| slots.offered().is_some()) {
                let id = fresh.names.id(name);
                fresh.networks.entry(id).or_default().adopt(slots);
            }
        }
        *index = fresh;
    }
}

impl Index {
    fn insert_news(&mut self, lease: &NetworkLease) {
        let version = version_of(lease);
        if version == 0 || version > self.told {
            self.insert(lease);
        }
    }

    fn insert(&mut self, lease: &NetworkLease) {
        let Some((name, slot)) = place_of(lease) else { return };
        self.remove_at(&name, slot);
        let network = self.names.id(&name);
        let uid = self.names.id(&lease.spec.network.uid);
        let own = &lease.spec.network.namespace;
        let mut holders = lease.spec.holders.iter();
        let plain = is_plain(lease).then(|| Identity::of(lease)).flatten();
        let record = Record::new(uid, plain, holders.next().map(|holder| self.names.held(holder, own)))
            .and_second(holders.next().map(|holder| self.names.held(holder, own)));
        for held in record.holders() {
            self.holders.insert((held.holder, network, slot.get()));
            *self.namespaces.entry(held.namespace).or_default().entry(network).or_default() += 1;
            *self.boots.entry((held.node, held.boot)).or_default() += 1;
        }
        *self.uids.entry(uid).or_default() += 1;
        self.leases += 1;
        self.networks.entry(network).or_default().insert(slot, record);
    }

    fn remove(&mut self, lease: &NetworkLease) -> bool {
        let Some((name, slot)) = place_of(lease) else { return false };
        let uid = self.names.find(&lease.spec.network.uid);
        let network = self.names.find(&name);
        let known = network.and_then(|id| self.networks.get(&id)).and_then(|slots| slots.record(slot));
        // A late report of an older lease must not free the slot of the one made since.
        let same = known.is_some_and(|record| {
            lease.spec.holders.is_empty()
                || lease.spec.holders.iter().any(|holder| {
                    let attempt = attempt_hash(&holder.attempt);
                    record.holders().any(|held| held.attempt == attempt)
                })
        });
        if same {
            self.remove_at(&name, slot);
        }
        uid.is_none_or(|uid| !self.uids.contains_key(&uid))
    }

    fn remove_at(&mut self, name: &str, slot: Slot) {
        let Some(network) = self.names.find(name) else { return };
        let Some(record) = self.networks.get_mut(&network).and_then(|slots| slots.remove(slot)) else {
            return;
        };
        for held in record.holders() {
            self.holders.remove(&(held.holder, network, slot.get()));
            decrease(self.namespaces.entry(held.namespace).or_default(), network);
            decrease(&mut self.boots, (held.node, held.boot));
        }
        decrease(&mut self.uids, record.uid);
        self.leases -= 1;
        if self.networks.get(&network).is_some_and(NetworkSlots::is_forgettable) {
            self.networks.remove(&network);
        }
    }

    fn offer(&mut self, network: &NetworkName, usable: &SlotRanges) {
        let id = self.names.id(&network.to_string());
        self.networks.entry(id).or_default().offer(usable);
    }

    /// Network and slot of an attempt's leases.
    fn places(&self, holder: HolderHash, attempt: u64) -> impl Iterator<Item = (u32, Slot)> {
        let of_holder = self.holders.range((holder, 0, 0)..=(holder, u32::MAX, u32::MAX));
        let of_holder = of_holder.filter_map(|(_, network, slot)| Some((*network, Slot::new(*slot)?)));
        of_holder.filter(move |(network, slot)| {
            let record = self.networks.get(network).and_then(|slots| slots.record(*slot));
            record.is_some_and(|record| record.holders().any(|held| held.attempt == attempt))
        })
    }

    fn lease_ref(&self, network: u32, slot: Slot) -> Option<LeaseRef> {
        let network = self.names.text(network)?.parse().ok()?;
        Some(LeaseRef { network, slot })
    }
}

/// Network and slot, as the lease's content has them; nothing for a lease that makes no sense.
fn place_of(lease: &NetworkLease) -> Option<(String, Slot)> {
    let network = &lease.spec.network;
    Some((format!("{}/{}", network.namespace, network.name), Slot::new(lease.spec.slot)?))
}

/// The store counts the changes of a kind in one sequence; 0 is no version of a stored object.
fn version_of(lease: &NetworkLease) -> u64 {
    lease.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Whether all that there is to free of a lease is the lease, and its one holder's end is its own.
fn is_plain(lease: &NetworkLease) -> bool {
    let needs_more = lease.annotations().contains_key(RESERVATIONS_ANNOTATION);
    lease.spec.holders.len() == 1 && lease.spec.claim.is_none() && !needs_more
}

fn decrease<K: Copy + Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
