//! Reconciliation of a node's ledger with the resolver's leases.

use serde::{Deserialize, Serialize};

use crate::{Attempt, BootId, ContainerId, InterfaceName, NetworkName};

/// What names an attachment on its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentKey {
    /// The sandbox.
    #[serde(rename = "containerID")]
    pub container_id: ContainerId,
    /// The interface in it.
    pub ifname: InterfaceName,
}

/// How far an attachment has come in its node's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LedgerState {
    /// From the intent, before the PUT, until the result is printed.
    Adding,
    /// ADD succeeded.
    Attached,
    /// Torn down here; the resolver is not yet told.
    Releasing,
}

/// One entry of the node's ledger, as far as the resolver needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Which attachment.
    #[serde(flatten)]
    pub key: AttachmentKey,
    /// The Network it is attached to.
    pub network: NetworkName,
    /// The ADD it came from.
    pub attempt: Attempt,
    /// The boot that ADD ran in.
    #[serde(rename = "bootID")]
    pub boot_id: BootId,
    /// How far it came.
    pub state: LedgerState,
    /// What the resolver answered then; empty while unknown.
    #[serde(default)]
    pub leases: Vec<String>,
}

/// Body of `POST /v1/nodes/{node}/attachments:reconcile`: the whole ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconcileRequest {
    /// The node's present boot.
    #[serde(rename = "bootID")]
    pub boot_id: BootId,
    /// All of the ledger that can be read.
    pub entries: Vec<LedgerEntry>,
    /// How much of it can't be. Any of that may stand for an attachment which runs, of this boot too.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unreadable: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_none(count: &usize) -> bool {
    *count == 0
}

/// A lease that the resolver believes to be held on the node and that the ledger did not list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspect {
    /// Which attachment it was for.
    #[serde(flatten)]
    pub key: AttachmentKey,
    /// Its holder's attempt.
    pub attempt: Attempt,
    /// The lease.
    pub lease: String,
    /// Its holder's boot, where that is known.
    #[serde(default, rename = "bootID", skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<BootId>,
}

/// Answer to a reconcile. Nothing is freed by it: the node re-checks each under its lock, and sends DELETE.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconcileReply {
    /// Leases without an entry in the ledger.
    #[serde(default)]
    pub suspects: Vec<Suspect>,
    /// Entries whose boot is fenced: to be torn down.
    #[serde(default)]
    pub tear_down: Vec<AttachmentKey>,
    /// Running attachments whose leases the resolver does not know: to be asserted again by PUT.
    #[serde(default)]
    pub reassert: Vec<AttachmentKey>,
}
