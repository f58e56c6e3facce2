//! DELETE: what an attempt holds is freed, and nothing else. The lease's content decides whose it is, preconditions
//! decide that it is still that. Where the view knows the content, it need not be read: what has the UID and the
//! resourceVersion of that content has that content.

use std::collections::BTreeSet;
use std::time::Duration;

use knap_api::{Holder, NetworkLease};
use knap_protocol::Attempt;
use kube::ResourceExt;
use tokio::time::timeout;

use super::Attacher;
use super::freed::let_go;
use super::lease::Asker;
use super::refusal::Refusal;
use crate::decision::DecisionId;
use crate::fault;
use crate::store::{Labels, ObjectName, Store, StoreError};
use crate::view::LeaseRef;

/// Fewer leases than this are searched at once: a page of a list.
const FEW: usize = 500;
/// How long the view is waited for. Where there is much to release, there is much for the watch to tell.
const SOON: Duration = Duration::from_millis(250);

impl<S: Store> Attacher<S> {
    /// Frees the leases of an attempt; done already is done. Durable when it returns.
    ///
    /// Where the caller knows its leases they are named: these alone are freed, for it may run with others of the same attempt,
    /// and nothing is searched for. An attempt that never got its answer does not: then the view must be current, or all
    /// leases of the holder are listed.
    pub async fn release(
        &self,
        id: &DecisionId,
        asker: Asker<'_>,
        attempt: &Attempt,
        leases: &[String],
    ) -> Result<(), Refusal> {
        fault::point("release-received");
        // Before the search: a PUT that makes its lease after it finds the attempt here.
        self.released.remember(attempt);
        let mut freed = Vec::new();
        let outcome = self.free(asker, attempt, leases, &mut freed).await;
        let (node, container, ifname) = (asker.node, &asker.key.container_id, &asker.key.ifname);
        let freed = freed.join(",");
        match &outcome {
            Ok(()) => tracing::info!(%id, leases = freed, %node, %container, %ifname, %attempt, "released"),
            Err(refusal) => {
                tracing::warn!(%id, %refusal, leases = freed, %node, %container, %ifname, %attempt, "can't release");
            }
        }
        fault::point("release-deleted");
        outcome
    }

    async fn free(
        &self,
        asker: Asker<'_>,
        attempt: &Attempt,
        leases: &[String],
        freed: &mut Vec<String>,
    ) -> Result<(), Refusal> {
        let mut names: BTreeSet<String> = leases.iter().cloned().collect();
        let mut outcome = Ok(());
        if leases.is_empty() && !self.is_current().await {
            match self.search(asker).await {
                Ok(found) => names.extend(found),
                Err(error) => outcome = Err(error.into()),
            }
        }
        for known in self.view.leases.of_holder(asker.hash(), attempt.as_str()) {
            let name = known.name();
            if !leases.is_empty() && !names.contains(&name) {
                continue;
            }
            match self.free_known(asker, attempt, &known).await {
                Ok(true) => {
                    names.remove(&name);
                    freed.push(name);
                }
                Ok(false) => drop(names.insert(name)),
                // The others are freed all the same.
                Err(error) => outcome = outcome.and(Err(error.into())),
            }
        }
        for name in names {
            match self.free_lease(asker, attempt, &name).await {
                Ok(true) => freed.push(name),
                Ok(false) => {}
                Err(error) => outcome = outcome.and(Err(error.into())),
            }
        }
        outcome
    }

    /// Names of a holder's leases by a consistent search.
    async fn search(&self, asker: Asker<'_>) -> Result<Vec<String>, StoreError> {
        // Nobody closes it.
        let _turn = self.searches.acquire().await;
        let labels = Labels::from([(asker.hash().label(), None)]);
        let found = self.store.list::<NetworkLease>(&labels).await?;
        Ok(found.iter().map(ResourceExt::name_any).collect())
    }

    /// Waits for a moment until the view knows every lease that was there when this was called; false if that takes longer.
    /// After an outage many don't know what they have, and a search for each would be the next outage.
    async fn is_current(&self) -> bool {
        if self.view.leases.len() < FEW {
            return false;
        }
        let store = self.store.clone();
        let position = self.position.read(move || async move { store.position::<NetworkLease>().await.ok() });
        let Some(position) = position.await else { return false };
        timeout(SOON, self.view.leases.told_up_to(position)).await.is_ok()
    }

    /// Frees a lease that the view knows as this attempt's, unread. False if it has to be read.
    async fn free_known(
        &self,
        asker: Asker<'_>,
        attempt: &Attempt,
        lease: &LeaseRef,
    ) -> Result<bool, StoreError> {
        let (node, attempt) = (asker.node.as_str(), attempt.as_str());
        let Some(known) = self.view.leases.unread(lease, node, asker.hash(), attempt) else {
            return Ok(false);
        };
        match self.store.delete::<NetworkLease>(&ObjectName::cluster(lease.name()), &known).await {
            Ok(()) => {
                self.view.leases.forget(lease, attempt);
                Ok(true)
            }
            // The view is behind.
            Err(StoreError::Changed { .. } | StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Frees one lease if the attempt holds it. False if it does not.
    async fn free_lease(&self, asker: Asker<'_>, attempt: &Attempt, name: &str) -> Result<bool, StoreError> {
        loop {
            let lease = self.store.get::<NetworkLease>(&ObjectName::cluster(name)).await?;
            let Some(lease) = lease else { return Ok(false) };
            if !lease.spec.holders.iter().any(|holder| asker.is(holder, attempt)) {
                return Ok(false);
            }
            let goes = |holder: &Holder| asker.is(holder, attempt);
            match let_go(&self.store, &self.view.leases, &lease, goes).await {
                Ok(()) => return Ok(true),
                // It was written between the two; the new content decides.
                Err(StoreError::Changed { .. }) => {}
                Err(StoreError::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}
