//! Attachments of a namespace that are under way: the view does not know them yet, and they count.

use std::collections::{HashMap, HashSet};

use knap_core::{Class, OverQuota, check_attachments};
use knap_protocol::{Attempt, NetworkName};
use parking_lot::Mutex;

use super::lease::Asker;
use crate::provision::class_name;
use crate::view::{HolderHash, View, attempt_hash};

/// A class and a namespace.
type Account = (String, String);
/// A holder and its attempt, as hashes.
type Mark = (HolderHash, u64);

/// The attempts that are under way in this process.
#[derive(Default)]
pub(super) struct Pending {
    attempts: Mutex<HashMap<Account, HashSet<Mark>>>,
}

/// One attachment under way.
pub(super) struct Admitted<'a> {
    pending: &'a Pending,
    /// None where nothing is counted.
    counted: Option<(Account, Mark)>,
}

impl Pending {
    /// Counts one more attachment of a namespace to Networks of a class, if it may have one more. Exact in one process;
    /// among replicas soft by their lag.
    pub(super) fn admit(
        &self,
        view: &View,
        class: &Class,
        namespace: &str,
        asker: Asker<'_>,
        attempt: &Attempt,
    ) -> Result<Admitted<'_>, OverQuota> {
        if class.access.attachments_per_namespace.is_none() {
            return Ok(Admitted { pending: self, counted: None });
        }
        let key = (class.name.clone(), namespace.to_owned());
        let mine = (asker.hash(), attempt_hash(attempt.as_str()));
        let mut attempts = self.attempts.lock();
        let pending = attempts.get(&key).into_iter().flatten();
        let counts = |network: &NetworkName| is_of_class(view, network, &class.name);
        let held = view.leases.count_of_namespace(namespace, counts, pending);
        check_attachments(namespace, held.try_into().unwrap_or(u64::MAX), class)?;
        attempts.entry(key.clone()).or_default().insert(mine);
        Ok(Admitted { pending: self, counted: Some((key, mine)) })
    }
}

fn is_of_class(view: &View, network: &NetworkName, class: &str) -> bool {
    view.network(network).is_some_and(|network| class_name(&network) == Some(class))
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let Some((key, mine)) = self.counted.take() else { return };
        let mut attempts = self.pending.attempts.lock();
        if let Some(pending) = attempts.get_mut(&key) {
            pending.remove(&mine);
            if pending.is_empty() {
                attempts.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn nothing_is_left_of_who_is_refused() {
        let world = World::new().await;
        let class = json!({
            "provider": "macvlan", "uplinks": [{"interface": "up0"}], "access": {"attachmentsPerNamespace": 0},
            "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 26}]
        });
        world.class("none", class).await;
        world.ready_network("shop/blue", json!({"class": "none"})).await;
        let refusal = world.attach("c1", json!({})).await.unwrap_err();
        assert_eq!(refusal.kind().status(), 429, "{refusal}");
        assert!(world.replica.attacher.pending.attempts.lock().is_empty());
    }
}
