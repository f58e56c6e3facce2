//! Names that many leases share, each kept once.

use std::collections::HashMap;
use std::sync::Arc;

use knap_api::Holder;

use super::holder::{HolderHash, attempt_hash};
use super::network_slots::Held;

/// Numbers for names: of Networks, UIDs, nodes, boots and namespaces. They are never given back before the watch begins
/// anew; there are few of them beside the leases.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Names {
    /// The name's number; a new one for a new name.
    pub(super) fn id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = Arc::from(name);
        self.ids.insert(Arc::clone(&text), id);
        self.texts.push(text);
        id
    }

    /// The number of a name that has one.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// The name that a number stands for.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize).map(|text| &**text)
    }

    /// A holder, as far as the index remembers it. Outside Kubernetes, where there is no pod, an attachment counts as
    /// one of the Network's own namespace.
    pub(super) fn held(&mut self, holder: &Holder, own_namespace: &str) -> Held {
        let namespace = holder.pod.as_ref().map_or(own_namespace, |pod| pod.namespace.as_str());
        Held {
            holder: HolderHash::of_holder(holder),
            attempt: attempt_hash(&holder.attempt),
            node: self.id(&holder.node),
            boot: self.id(&holder.boot_id),
            namespace: self.id(namespace),
        }
    }
}
