//! The record of a node's boots: kept in its NodeInventory, written once per boot.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use knap_api::{MOST_SUPERSEDED, NodeInventory, NodeInventorySpec, QUARANTINE_ANNOTATION};
use knap_core::{Boots, Causes, Fence, FenceReason, Standing};
use knap_protocol::{BootId, NodeName};
use kube::ResourceExt;
use tokio::time::{Instant, sleep};

use crate::store::{ObjectName, Store, StoreError};
use crate::timestamp::rfc3339;
use crate::view::View;

/// How long to wait before a write is repeated whose outcome is not known.
const REPEAT: Duration = Duration::from_millis(100);

/// How long a store is waited for that can't be read: an API server that is restarted is back in seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a boot is not the one that attaches.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The boots as they are recorded do not let it.
    #[error("boot {boot} of node {node} may not attach")]
    Condemned {
        /// The node.
        node: NodeName,
        /// The boot.
        boot: BootId,
        /// What is recorded.
        boots: Boots,
    },
    /// The store.
    #[error("can't record boot {boot} of node {node}")]
    Store {
        /// The node.
        node: NodeName,
        /// The boot.
        boot: BootId,
        /// The cause.
        #[source]
        source: StoreError,
    },
}

/// Makes sure that a boot is its node's present one, by what the store holds now. One that was not heard of yet becomes it:
/// the one before is superseded and fenced in the same write.
///
/// # Errors
/// If a later boot was heard of, if this one is fenced, or if the store does not answer as it should.
pub async fn begin_boot<S: Store>(
    store: &S,
    view: &View,
    node: &NodeName,
    boot: &BootId,
) -> Result<(), RecordError> {
    let failed = |source| RecordError::Store { node: node.clone(), boot: boot.clone(), source };
    let name = ObjectName::cluster(node.as_str());
    let patience = Instant::now() + PATIENCE;
    loop {
        let found = match store.get::<NodeInventory>(&name).await {
            Err(StoreError::Unavailable { .. }) if Instant::now() < patience => {
                sleep(REPEAT).await;
                continue;
            }
            found => found.map_err(failed)?,
        };
        let boots = found.as_ref().map(boots_of).unwrap_or_default();
        match boots.standing(boot.as_str()) {
            Standing::Current => return Ok(()),
            Standing::Superseded | Standing::Fenced(_) => {
                return Err(RecordError::Condemned { node: node.clone(), boot: boot.clone(), boots });
            }
            Standing::New => {}
        }
        let written = match found {
            None => store.create(&recorded(None, view, node, boot)).await,
            Some(inventory) => store.update(&recorded(Some(inventory), view, node, boot)).await,
        };
        match written {
            Ok(inventory) => tell(&inventory),
            // Somebody else wrote it: that decides.
            Err(
                StoreError::AlreadyExists { .. } | StoreError::Changed { .. } | StoreError::NotFound { .. },
            ) => {}
            Err(error @ StoreError::Unavailable { .. }) => {
                tracing::warn!(%node, %boot, %error, "can't tell whether a boot is recorded; looking again");
                sleep(REPEAT).await;
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

fn tell(inventory: &NodeInventory) {
    let (node, boots) = (inventory.name_any(), boots_of(inventory));
    let (boot, superseded) = (boots.current.unwrap_or_default(), boots.superseded.last());
    tracing::info!(node, boot, superseded = superseded.map(String::as_str), "a new boot");
}

/// A node's inventory with a boot that was not heard of yet. What would fence it right away does so in the same write.
pub(crate) fn recorded(
    found: Option<NodeInventory>,
    view: &View,
    node: &NodeName,
    boot: &BootId,
) -> NodeInventory {
    let fresh = || NodeInventory::new(node.as_str(), NodeInventorySpec::default());
    let mut inventory = found.unwrap_or_else(fresh);
    let mut boots = boots_of(&inventory);
    let now = rfc3339(Timestamp::now());
    boots.begin(boot.as_str(), MOST_SUPERSEDED, &now);
    boots.fence_for(causes_of(&inventory, view), &now);
    set_boots(&mut inventory, boots);
    inventory
}

/// What fences the node's present boot, as far as the view knows.
pub(crate) fn causes_of(inventory: &NodeInventory, view: &View) -> Causes {
    let node = view.nodes.get(&ObjectName::of(inventory));
    Causes {
        out_of_service: node.is_some_and(|node| node.out_of_service),
        quarantined: is_quarantined(inventory),
        node_gone: false,
    }
}

/// Whether an administrator's annotation is there. `false` takes it back as its absence does.
pub(crate) fn is_quarantined(inventory: &NodeInventory) -> bool {
    inventory.annotations().get(QUARANTINE_ANNOTATION).is_some_and(|reason| reason != "false")
}

/// The boots that an inventory records.
pub(crate) fn boots_of(inventory: &NodeInventory) -> Boots {
    let spec = &inventory.spec;
    let fences = spec.fences.iter().map(|fence| Fence {
        boot: fence.boot_id.clone(),
        reason: reason_of(fence.reason),
        since: fence.since.clone(),
    });
    Boots {
        current: Some(spec.boot_id.clone()).filter(|boot| !boot.is_empty()),
        superseded: spec.superseded_boot_ids.clone(),
        fences: fences.collect(),
    }
}

/// Writes boots into an inventory.
pub(crate) fn set_boots(inventory: &mut NodeInventory, boots: Boots) {
    let fences = boots.fences.into_iter().map(|fence| knap_api::Fence {
        boot_id: fence.boot,
        reason: written(fence.reason),
        since: fence.since,
    });
    inventory.spec.boot_id = boots.current.unwrap_or_default();
    inventory.spec.superseded_boot_ids = boots.superseded;
    inventory.spec.fences = fences.collect();
}

const fn reason_of(reason: knap_api::FenceReason) -> FenceReason {
    match reason {
        knap_api::FenceReason::Rebooted => FenceReason::Rebooted,
        knap_api::FenceReason::OutOfService => FenceReason::OutOfService,
        knap_api::FenceReason::Quarantined => FenceReason::Quarantined,
        knap_api::FenceReason::NodeGone => FenceReason::NodeGone,
    }
}

const fn written(reason: FenceReason) -> knap_api::FenceReason {
    match reason {
        FenceReason::Rebooted => knap_api::FenceReason::Rebooted,
        FenceReason::OutOfService => knap_api::FenceReason::OutOfService,
        FenceReason::Quarantined => knap_api::FenceReason::Quarantined,
        FenceReason::NodeGone => knap_api::FenceReason::NodeGone,
    }
}
