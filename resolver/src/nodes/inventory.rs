//! PUT of a node's inventory: what its agent found, written where it differs from what is known.

use k8s_openapi::jiff::Timestamp;
use knap_api::{
    Condition, ConditionStatus, InventoryDelegate, InventoryInterface, InventorySriov, NodeInventory,
    NodeInventoryStatus,
};
use knap_core::Standing;
use knap_protocol::{Inventory, NodeInterface, NodeName, NodeProblem};

use super::record::{boots_of, recorded};
use crate::store::{ObjectName, Store, StoreError};
use crate::timestamp::rfc3339;
use crate::view::View;

/// The condition of a NodeInventory.
pub(crate) const READY: &str = "Ready";
/// Bytes of a condition's message.
const MESSAGE: usize = 4096;

/// Why an inventory is not taken.
#[derive(Debug, thiserror::Error)]
#[error("can't write the inventory of node {node}")]
pub struct InventoryError {
    /// The node.
    pub node: NodeName,
    /// The cause.
    #[source]
    pub source: StoreError,
}

/// Takes what an agent found on its node. One of a superseded boot is old, and left out.
///
/// # Errors
/// If the store does not take it.
pub async fn put_inventory<S: Store>(
    store: &S,
    view: &View,
    node: &NodeName,
    found: &Inventory,
) -> Result<(), InventoryError> {
    let failed = |source| InventoryError { node: node.clone(), source };
    loop {
        match write(store, view, node, found).await {
            // Somebody else wrote it meanwhile: once more, on what is there now.
            Err(
                StoreError::AlreadyExists { .. } | StoreError::Changed { .. } | StoreError::NotFound { .. },
            ) => {}
            written => return written.map_err(failed),
        }
    }
}

async fn write<S: Store>(
    store: &S,
    view: &View,
    node: &NodeName,
    found: &Inventory,
) -> Result<(), StoreError> {
    let there = store.get::<NodeInventory>(&ObjectName::cluster(node.as_str())).await?;
    let standing = there.as_ref().map(|there| boots_of(there).standing(found.boot_id.as_str()));
    let mut next = match (there.clone(), standing) {
        (Some(_), Some(Standing::Superseded)) => {
            tracing::warn!(%node, boot = %found.boot_id, "left out the inventory of a superseded boot");
            return Ok(());
        }
        (Some(there), Some(Standing::Current | Standing::Fenced(_))) => there,
        (there, _) => recorded(there, view, node, &found.boot_id),
    };
    set_facts(&mut next, found);
    let mut now = match there {
        None => store.create(&next).await?,
        Some(there) if there.spec == next.spec => there,
        Some(_) => store.update(&next).await?,
    };
    let status = NodeInventoryStatus { conditions: vec![condition(&now, &found.problems)] };
    if now.status.as_ref() != Some(&status) {
        now.status = Some(status);
        store.update_status(&now).await?;
    }
    Ok(())
}

fn set_facts(inventory: &mut NodeInventory, found: &Inventory) {
    let spec = &mut inventory.spec;
    spec.agent_version = Some(found.agent_version.clone());
    spec.plugin_version.clone_from(&found.plugin_version);
    spec.underlay_address = found.underlay_address.map(|address| address.to_string());
    spec.interfaces = found.interfaces.iter().map(interface).collect();
    spec.delegates = found
        .delegates
        .iter()
        .map(|plugin| InventoryDelegate {
            kind: plugin.kind.clone(),
            cni_versions: plugin.cni_versions.clone(),
        })
        .collect();
}

fn interface(found: &NodeInterface) -> InventoryInterface {
    InventoryInterface {
        name: found.name.to_string(),
        driver: found.driver.clone(),
        mac: found.mac.clone(),
        speed_mbps: found.speed_mbps,
        mtu: found.mtu,
        up: found.up,
        pci_address: found.pci_address.clone(),
        sriov: found.sriov.map(|sriov| InventorySriov { total_vfs: sriov.total_vfs, vfs: sriov.vfs }),
    }
}

fn condition(inventory: &NodeInventory, problems: &[NodeProblem]) -> Condition {
    let (status, reason, message) = match problems.first() {
        None => (ConditionStatus::True, READY.to_owned(), "the node's agent found no problem".to_owned()),
        Some(first) => {
            let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
            let mut message = messages.join("; ");
            message.truncate(message.floor_char_boundary(MESSAGE));
            (ConditionStatus::False, first.reason.clone(), message)
        }
    };
    let known = inventory.status.iter().flat_map(|status| &status.conditions);
    let unchanged = known.filter(|known| known.kind == READY).find(|known| known.status == status);
    Condition {
        kind: READY.to_owned(),
        status,
        reason,
        message,
        last_transition_time: unchanged
            .map_or_else(|| rfc3339(Timestamp::now()), |known| known.last_transition_time.clone()),
        // A fence, which changes it too, says nothing about this.
        observed_generation: None,
    }
}
