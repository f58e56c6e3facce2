//! Leases of condemned boots: freed, holder by holder, and no others.

use futures::future::join_all;
use knap_api::{NetworkLease, NodeInventory};
use knap_core::{Boots, FenceReason};
use kube::ResourceExt;

use super::counters::Counters;
use super::record::boots_of;
use crate::attach::let_go;
use crate::store::{ObjectName, Store, StoreError};
use crate::view::{LeaseRef, View};

/// Leases that are freed at once.
const AT_ONCE: usize = 32;

/// Frees what condemned boots of a node hold. Goes on past errors, and returns the first.
pub(super) async fn free<S: Store>(
    store: &S,
    view: &View,
    counters: &Counters,
    node: &str,
    boots: &Boots,
) -> Result<(), StoreError> {
    let condemned: Vec<&str> = boots.all_condemned().collect();
    let mut outcome = Ok(());
    for some in view.leases.of_boots(node, &condemned).chunks(AT_ONCE) {
        let freed = free_some(store, view, counters, node, some).await;
        outcome = outcome.and(freed);
    }
    outcome
}

/// The leases are read first, then the record: whatever is freed existed while its boot was condemned. A lease made after a
/// fence was lifted can't be taken for one from before it.
async fn free_some<S: Store>(
    store: &S,
    view: &View,
    counters: &Counters,
    node: &str,
    some: &[LeaseRef],
) -> Result<(), StoreError> {
    let names: Vec<ObjectName> = some.iter().map(|lease| ObjectName::cluster(lease.name())).collect();
    let read = join_all(names.iter().map(|name| store.get::<NetworkLease>(name))).await;
    let Some(inventory) = store.get::<NodeInventory>(&ObjectName::cluster(node)).await? else {
        return Ok(());
    };
    let boots = boots_of(&inventory);
    let freed = join_all(read.into_iter().map(async |lease| match lease? {
        Some(lease) => free_one(store, view, counters, (node, &boots), &lease).await,
        None => Ok(()),
    }));
    freed.await.into_iter().collect()
}

async fn free_one<S: Store>(
    store: &S,
    view: &View,
    counters: &Counters,
    (node, boots): (&str, &Boots),
    lease: &NetworkLease,
) -> Result<(), StoreError> {
    let here = lease.spec.holders.iter().filter(|holder| holder.node == node);
    let reasons: Vec<FenceReason> = here.filter_map(|holder| boots.condemned(&holder.boot_id)).collect();
    let Some(reason) = reasons.first() else { return Ok(()) };
    let goes = |holder: &knap_api::Holder| holder.node == node && boots.condemned(&holder.boot_id).is_some();
    match let_go(store, &view.leases, lease, goes).await {
        Ok(()) => {
            tracing::info!(
                lease = lease.name_any(),
                node,
                reason = reason.name(),
                "freed what a dead boot held"
            );
            counters.freed(*reason);
            Ok(())
        }
        // Somebody else freed it, or it is looked at again with what was written meanwhile.
        Err(StoreError::NotFound { .. } | StoreError::Changed { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
