//! A copy of what a cluster has decided, in a store of its own. Objects get new UIDs there, and what names its owner by UID
//! is made to name the new one.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Node;
use knap_api::{NETWORK_UID_LABEL, NetworkLease, Reservation};
use kube::{Resource, ResourceExt};

use super::found::Found;
use crate::store::{Kind, Store, StoreError};

/// Puts all into the store but the Networks that were never decided. No controller may run on it yet.
pub(super) async fn copy<S: Store>(store: &S, found: &Found) -> Result<(), StoreError> {
    create_all(store, &found.namespaces).await?;
    for node in &found.nodes {
        create_node(store, node).await?;
    }
    create_all(store, &found.classes).await?;
    let mut uids = Uids::default();
    for network in found.networks.iter().filter(|network| network.status.is_some()) {
        let mut copied = store.create(network).await?;
        uids.0.insert(network.uid().unwrap_or_default(), copied.uid().unwrap_or_default());
        copied.status.clone_from(&network.status);
        store.update_status(&copied).await?;
    }
    for reservation in &found.reservations {
        let mut renamed: Reservation = reservation.clone();
        uids.rename(&mut renamed.spec.network.uid);
        uids.relabel(&mut renamed);
        let mut copied = store.create(&renamed).await?;
        copied.status.clone_from(&reservation.status);
        store.update_status(&copied).await?;
    }
    for lease in &found.leases {
        let mut renamed: NetworkLease = lease.clone();
        uids.rename(&mut renamed.spec.network.uid);
        uids.relabel(&mut renamed);
        store.create(&renamed).await?;
    }
    Ok(())
}

/// A Node with its addresses, which are in its status.
pub(super) async fn create_node<S: Store>(store: &S, node: &Node) -> Result<(), StoreError> {
    let mut created = store.create(node).await?;
    if node.status.is_some() {
        created.status.clone_from(&node.status);
        store.update_status(&created).await?;
    }
    Ok(())
}

async fn create_all<S: Store, K: Kind>(store: &S, objects: &[K]) -> Result<(), StoreError> {
    for object in objects {
        store.create(object).await?;
    }
    Ok(())
}

/// Networks' UIDs there, by those in the cluster. What belongs to a Network that is gone keeps its owner's.
#[derive(Default)]
struct Uids(HashMap<String, String>);

impl Uids {
    fn rename(&self, uid: &mut String) {
        if let Some(copied) = self.0.get(uid) {
            uid.clone_from(copied);
        }
    }

    fn relabel<K: Resource>(&self, object: &mut K) {
        let label = object.meta_mut().labels.as_mut().and_then(|labels| labels.get_mut(NETWORK_UID_LABEL));
        if let Some(uid) = label {
            self.rename(uid);
        }
    }
}
