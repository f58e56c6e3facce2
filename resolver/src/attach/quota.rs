//! Attachments of a namespace that are under way: the view does not know them yet, and they count.

use std::collections::HashMap;

use knap_core::{Class, OverQuota, check_attachments};
use knap_protocol::NetworkName;
use parking_lot::Mutex;

use crate::store::ObjectName;
use crate::view::View;

/// By class and namespace, how many are under way in this process.
#[derive(Default)]
pub(super) struct Pending {
    counts: Mutex<HashMap<(String, String), u32>>,
}

/// One attachment under way.
pub(super) struct Admitted<'a> {
    pending: &'a Pending,
    /// None where nothing is counted.
    key: Option<(String, String)>,
}

impl Pending {
    /// Counts one more attachment of a namespace to Networks of a class, if it may have one more. Exact in one process;
    /// among replicas soft by their lag.
    pub(super) fn admit(
        &self,
        view: &View,
        class: &Class,
        namespace: &str,
    ) -> Result<Admitted<'_>, OverQuota> {
        if class.access.attachments_per_namespace.is_none() {
            return Ok(Admitted { pending: self, key: None });
        }
        let key = (class.name.clone(), namespace.to_owned());
        let mut counts = self.counts.lock();
        let pending = counts.entry(key.clone()).or_default();
        let held =
            view.leases.count_of_namespace(namespace, |network| is_of_class(view, network, &class.name));
        check_attachments(namespace, u64::from(held) + u64::from(*pending), class)?;
        *pending += 1;
        Ok(Admitted { pending: self, key: Some(key) })
    }
}

fn is_of_class(view: &View, network: &NetworkName, class: &str) -> bool {
    let network = view.networks.get(&ObjectName::namespaced(network.namespace(), network.name()));
    network
        .and_then(|network| network.status.as_ref()?.class.clone())
        .is_some_and(|served_by| served_by == class)
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut counts = self.pending.counts.lock();
        if let Some(count) = counts.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&key);
            }
        }
    }
}
