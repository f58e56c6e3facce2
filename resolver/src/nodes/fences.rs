//! Fences: set where there is cause, settled where nothing is left to do, lifted where the cause is gone and nothing of the boot
//! remains. Every write is of what was read a moment before, from the store itself.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use knap_api::NodeInventory;
use knap_core::{Boots, Causes, FenceReason, Standing};
use knap_protocol::{BootId, NodeName};
use kube::ResourceExt;

use super::record::{boots_of, is_quarantined, set_boots};
use crate::store::{ObjectName, Store, StoreError};
use crate::timestamp::rfc3339;
use crate::view::{KnownNode, View};

/// Fences a node's present boot, if there is cause and it is not fenced yet. `gone_for_long`: the Node has been absent for as
/// long as was asked for. What comes of it is the boots as they are recorded now; none where somebody else wrote them.
pub(super) async fn fence<S: Store>(
    store: &S,
    node: &str,
    gone_for_long: bool,
) -> Result<Option<Boots>, StoreError> {
    let name = ObjectName::cluster(node);
    let Some(inventory) = store.get::<NodeInventory>(&name).await? else { return Ok(None) };
    let object = store.get::<Node>(&name).await?;
    let causes = Causes { node_gone: gone_for_long && object.is_none(), ..causes_by(&inventory, object) };
    let mut boots = boots_of(&inventory);
    if boots.fence_for(causes, &rfc3339(Timestamp::now())) {
        let (boot, reason) = (boots.current.clone(), causes.first().map(FenceReason::name));
        tracing::warn!(node, boot, reason, "fenced: what this boot holds is freed");
        return write(store, inventory, boots).await;
    }
    Ok(Some(boots))
}

/// Drops fences of superseded boots that hold nothing any more.
pub(super) async fn settle<S: Store>(store: &S, view: &View, node: &str) -> Result<(), StoreError> {
    let Some(inventory) = store.get::<NodeInventory>(&ObjectName::cluster(node)).await? else {
        return Ok(());
    };
    let mut boots = boots_of(&inventory);
    if boots.settle(|boot| view.leases.holds(node, Some(boot))) {
        write(store, inventory, boots).await?;
    }
    Ok(())
}

/// Lifts the fence of a node's present boot if its cause is gone. To be called when the node's ledger shows nothing of the boot.
/// Whether it was lifted.
pub(crate) async fn lift<S: Store>(
    store: &S,
    view: &View,
    node: &NodeName,
    boot: &BootId,
) -> Result<bool, StoreError> {
    let name = ObjectName::cluster(node.as_str());
    let Some(inventory) = store.get::<NodeInventory>(&name).await? else { return Ok(false) };
    let mut boots = boots_of(&inventory);
    let Standing::Fenced(reason) = boots.standing(boot.as_str()) else { return Ok(false) };
    let object = store.get::<Node>(&name).await?;
    let gone = reason == FenceReason::NodeGone && object.is_none();
    let causes = Causes { node_gone: gone, ..causes_by(&inventory, object) };
    if causes.first().is_some() || view.leases.holds(node.as_str(), Some(boot.as_str())) {
        return Ok(false);
    }
    boots.lift(boot.as_str());
    let lifted = write(store, inventory, boots).await?.is_some();
    if lifted {
        tracing::info!(%node, %boot, reason = reason.name(), "the fence is lifted: nothing of it remains");
    }
    Ok(lifted)
}

fn causes_by(inventory: &NodeInventory, object: Option<Node>) -> Causes {
    Causes {
        out_of_service: object.is_some_and(|node| KnownNode::of(node).out_of_service),
        quarantined: is_quarantined(inventory),
        node_gone: false,
    }
}

/// None where somebody else wrote it first: their news brings the node up again.
async fn write<S: Store>(
    store: &S,
    mut inventory: NodeInventory,
    boots: Boots,
) -> Result<Option<Boots>, StoreError> {
    set_boots(&mut inventory, boots);
    match store.update(&inventory).await {
        Ok(written) => Ok(Some(boots_of(&written))),
        Err(StoreError::Changed { .. } | StoreError::NotFound { .. }) => {
            tracing::debug!(node = inventory.name_any(), "written by somebody else meanwhile");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
