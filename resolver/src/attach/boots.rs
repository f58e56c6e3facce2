//! The look at the asking node that comes before and after a create: is its boot the one that may attach?

use std::collections::HashMap;
use std::sync::Arc;

use knap_api::NodeInventory;
use knap_core::{Boots, Standing};
use knap_protocol::{BootId, NodeName};
use parking_lot::Mutex;

use super::coalesced::Coalesced;
use super::refusal::Refusal;
use crate::nodes::{RecordError, begin_boot, boots_of};
use crate::store::{ObjectName, Store, StoreError};
use crate::view::View;

/// A node's boots as the store has them; none where nothing is recorded.
type Look = Result<Option<Arc<Boots>>, Arc<StoreError>>;
type Begun = Result<(), Arc<RecordError>>;

/// Shared looks per node, and shared records of a node's new boots.
#[derive(Default)]
pub(super) struct BootGates {
    looks: Mutex<HashMap<NodeName, Coalesced<Look>>>,
    records: Mutex<HashMap<(NodeName, BootId), Coalesced<Begun>>>,
}

impl BootGates {
    /// Makes sure that the boot is recorded as its node's present one, before anything is made for it. What the view says is
    /// enough to go on, and never to refuse.
    pub(super) async fn begin<S: Store>(
        &self,
        store: &S,
        view: &Arc<View>,
        node: &NodeName,
        boot: &BootId,
    ) -> Result<(), Refusal> {
        let known = view.inventories.get(&ObjectName::cluster(node.as_str()));
        if known.is_some_and(|known| boots_of(&known).standing(boot.as_str()) == Standing::Current) {
            return Ok(());
        }
        let record = Record::of(self, (node.clone(), boot.clone()));
        let (store, view, (node, boot)) = (store.clone(), Arc::clone(view), record.key.clone());
        let begun = record
            .shared
            .read(move || async move { begin_boot(&store, &view, &node, &boot).await.map_err(Arc::new) });
        begun.await.map_err(|error| refusal(&error))
    }

    /// Whether the boot may still attach, by a read that begins after this call. One read serves all that ask before it
    /// begins.
    pub(super) async fn check<S: Store>(
        &self,
        store: &S,
        node: &NodeName,
        boot: &BootId,
    ) -> Result<(), Refusal> {
        let boots = self.look(store, node).await?;
        let standing = boots.as_ref().map_or(Standing::New, |boots| boots.standing(boot.as_str()));
        match (standing, boots) {
            (Standing::Current, _) => Ok(()),
            (Standing::Superseded | Standing::Fenced(_), Some(boots)) => Err(condemned(node, boot, &boots)),
            _ => Err(Refusal::Unrecorded { node: node.clone(), boot: boot.clone() }),
        }
    }

    /// A node's boots, by a read that begins after this call.
    pub(super) async fn look<S: Store>(
        &self,
        store: &S,
        node: &NodeName,
    ) -> Result<Option<Arc<Boots>>, Refusal> {
        let look = self.looks.lock().entry(node.clone()).or_default().clone();
        let (store, name) = (store.clone(), ObjectName::cluster(node.as_str()));
        let look = look.read(move || async move {
            let found = store.get::<NodeInventory>(&name).await.map_err(Arc::new)?;
            Ok(found.map(|inventory| Arc::new(boots_of(&inventory))))
        });
        look.await.map_err(Refusal::Store)
    }

    /// Forgets nodes that are gone.
    pub(super) fn retain(&self, is_known: impl Fn(&NodeName) -> bool) {
        self.looks.lock().retain(|node, _| is_known(node));
    }
}

/// One asker's part in the record of a boot. With the last of them, who may all be gone before it is written, it goes.
struct Record<'a> {
    gates: &'a BootGates,
    key: (NodeName, BootId),
    shared: Coalesced<Begun>,
}

impl<'a> Record<'a> {
    fn of(gates: &'a BootGates, key: (NodeName, BootId)) -> Self {
        let shared = gates.records.lock().entry(key.clone()).or_default().clone();
        Self { gates, key, shared }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let mut records = self.gates.records.lock();
        // Given back within the lock: of two who go at once, the later finds it idle.
        self.shared = Coalesced::default();
        if records.get(&self.key).is_some_and(Coalesced::is_idle) {
            records.remove(&self.key);
        }
    }
}

fn refusal(error: &RecordError) -> Refusal {
    match error {
        RecordError::Condemned { node, boot, boots } => condemned(node, boot, boots),
        RecordError::Store { node, source, .. } => {
            Refusal::Unrecordable { node: node.clone(), reason: source.to_string() }
        }
    }
}

fn condemned(node: &NodeName, boot: &BootId, boots: &Boots) -> Refusal {
    let (node, boot) = (node.clone(), boot.clone());
    match boots.standing(boot.as_str()) {
        Standing::Fenced(reason) => Refusal::Fenced { node, boot, reason },
        _ => Refusal::Superseded { node, boot, current: boots.current.clone().unwrap_or_default() },
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::poll;
    use serde_json::json;

    use crate::testing::{Replica, Troubled, World};

    #[tokio::test]
    async fn nothing_is_left_of_who_has_gone() {
        let world = World::new().await;
        world.ready_network("shop/blue", json!({"provider": "bridge"})).await;
        let replica = Replica::over(&Troubled::new(&world.store, |_| pending())).await;
        let records = || replica.attacher.boots.records.lock().len();
        let mut first = Box::pin(replica.attach("c1", json!({})));
        let mut second = Box::pin(replica.attach("c2", json!({})));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        assert_eq!(records(), 1);
        drop(first);
        assert_eq!(records(), 1, "another waits for it");
        drop(second);
        assert_eq!(records(), 0);
    }
}
