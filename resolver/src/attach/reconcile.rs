//! POST: what a node's ledger holds, held against the leases. Nothing is freed here: the node re-checks each under
//! its lock, and sends DELETE.

use std::collections::HashMap;

use knap_api::NetworkLease;
use knap_core::{Boots, Standing};
use knap_protocol::{
    AttachmentKey, Attempt, LedgerEntry, LedgerState, NodeName, ReconcileReply, ReconcileRequest, Suspect,
};
use kube::ResourceExt;

use super::Attacher;
use super::lease::Asker;
use super::refusal::Refusal;
use crate::nodes::lift;
use crate::store::{ObjectName, Store};
use crate::view::{HolderHash, LeaseRef};

impl<S: Store> Attacher<S> {
    /// Leases that the ledger does not list, entries of boots that may hold nothing, and running attachments whose leases are
    /// not there.
    pub async fn reconcile(
        &self,
        node: &NodeName,
        request: &ReconcileRequest,
    ) -> Result<ReconcileReply, Refusal> {
        let mut entries: HashMap<HolderHash, Vec<&LedgerEntry>> = HashMap::new();
        for entry in &request.entries {
            entries.entry(HolderHash::of(node, &entry.key)).or_default().push(entry);
        }
        let mut reply = ReconcileReply::default();
        for (lease, holder) in self.view.leases.on_node(node.as_str()) {
            let of_holder = entries.get(&holder).map(Vec::as_slice).unwrap_or_default();
            if of_holder.iter().any(|entry| self.is_listed(node, entry, &lease)) {
                continue;
            }
            // The view may be behind: only a lease that is there now is suspect.
            let lease = self.store.get::<NetworkLease>(&ObjectName::cluster(lease.name())).await?;
            reply.suspects.extend(lease.iter().flat_map(|lease| suspects_of(node, lease, &request.entries)));
        }
        let boots = self.boots.look(&self.store, node).await?;
        let boots = boots.as_deref();
        for entry in &request.entries {
            if is_condemned(entry, boots) {
                reply.tear_down.push(entry.key.clone());
            } else if is_running(entry, request) && !self.has_its_leases(node, entry).await? {
                reply.reassert.push(entry.key.clone());
            }
        }
        if is_clear(request, boots) {
            lift(&self.store, &self.view, node, &request.boot_id).await?;
        }
        tracing::debug!(
            %node, entries = request.entries.len(), suspects = reply.suspects.len(),
            tear_down = reply.tear_down.len(), reassert = reply.reassert.len(), "reconciled"
        );
        Ok(reply)
    }

    /// Whether the view knows the lease as this entry's.
    fn is_listed(&self, node: &NodeName, entry: &LedgerEntry, lease: &LeaseRef) -> bool {
        let hash = HolderHash::of(node, &entry.key);
        accounts_for(entry, &lease.name())
            && self.view.leases.of_holder(hash, entry.attempt.as_str()).contains(lease)
    }

    async fn has_its_leases(&self, node: &NodeName, entry: &LedgerEntry) -> Result<bool, Refusal> {
        let asker = Asker { node, key: &entry.key };
        let known = self.view.leases.of_holder(asker.hash(), entry.attempt.as_str());
        for name in &entry.leases {
            if known.iter().any(|lease| lease.name() == *name) {
                continue;
            }
            let lease = self.store.get::<NetworkLease>(&ObjectName::cluster(name.as_str())).await?;
            if !lease
                .is_some_and(|lease| lease.spec.holders.iter().any(|holder| asker.is(holder, &entry.attempt)))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// An entry whose leases are known accounts for these alone; one that never got its answer, for all of its attempt.
fn accounts_for(entry: &LedgerEntry, lease: &str) -> bool {
    entry.leases.is_empty() || entry.leases.iter().any(|known| known == lease)
}

/// Whether an entry is of a boot whose leases are freed, or will be.
fn is_condemned(entry: &LedgerEntry, boots: Option<&Boots>) -> bool {
    entry.state != LedgerState::Releasing
        && boots.is_some_and(|boots| boots.condemned(entry.boot_id.as_str()).is_some())
}

/// Whether the node is fenced and has nothing left of the boot that is, nor anything that nobody can read. Its ledger has an
/// entry before it asks for a lease, so nothing of that boot is on its way either; and were this ledger older than the fence, the
/// next one would tell.
fn is_clear(request: &ReconcileRequest, boots: Option<&Boots>) -> bool {
    boots.is_some_and(|boots| matches!(boots.standing(request.boot_id.as_str()), Standing::Fenced(_)))
        && request.unreadable == 0
        && request
            .entries
            .iter()
            .all(|entry| entry.boot_id != request.boot_id || entry.state == LedgerState::Releasing)
}

/// Only a running attachment of this boot is worth a lease.
fn is_running(entry: &LedgerEntry, request: &ReconcileRequest) -> bool {
    entry.state == LedgerState::Attached && entry.boot_id == request.boot_id && !entry.leases.is_empty()
}

/// Holders of a lease on the node that no entry accounts for. One with a name that is none is nobody's to tear down.
fn suspects_of<'a>(
    node: &'a NodeName,
    lease: &'a NetworkLease,
    entries: &'a [LedgerEntry],
) -> impl Iterator<Item = Suspect> + 'a {
    let name = lease.name_any();
    let here = lease.spec.holders.iter().filter(move |holder| holder.node == node.as_str());
    here.filter_map(move |holder| {
        let attempt: Attempt = holder.attempt.parse().ok()?;
        let key = AttachmentKey {
            container_id: holder.container_id.parse().ok()?,
            ifname: holder.ifname.parse().ok()?,
        };
        let listed = entries
            .iter()
            .any(|entry| entry.key == key && entry.attempt == attempt && accounts_for(entry, &name));
        let boot_id = holder.boot_id.parse().ok();
        (!listed).then(|| Suspect { key, attempt, lease: name.clone(), boot_id })
    })
}
