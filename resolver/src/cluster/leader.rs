//! Which replica runs the controllers: the one that holds a Lease (coordination.k8s.io/v1).
//!
//! This spares work and quarrels, and nothing more. A leader that was frozen may go on for a moment beside its successor, so
//! what is scarce is taken by creating named objects, never by being the leader (design: the one rule for everything scarce).

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::store::{ObjectName, Store, StoreError};

/// The Lease's name.
pub(crate) const LEASE: &str = "knap-resolver";

/// When to write, and when to give up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// A Lease that nobody has renewed for so long is free, by the clock of whoever looks.
    pub(crate) duration: Duration,
    /// A leader that could not renew for so long ends its controllers. Less than `duration`.
    pub(crate) deadline: Duration,
    /// Between renewals, and between looks of those who wait.
    pub(crate) step: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            step: Duration::from_secs(2),
        }
    }
}

/// A replica that would run the controllers.
#[derive(Debug)]
pub(crate) struct Candidate<S> {
    store: S,
    lease: ObjectName,
    identity: String,
    timing: Timing,
    leading: Gauge,
}

/// How a leadership ended.
enum End {
    Lost,
    Stopped,
    /// A controller ended, which none does.
    Broken,
}

/// What somebody else's Lease showed, and since when it has shown that.
struct Seen {
    spec: Option<LeaseSpec>,
    since: Instant,
}

impl<S: Store> Candidate<S> {
    /// For the Lease in this namespace. The identity is unique to this process.
    pub(crate) fn new(store: S, namespace: &str, timing: Timing) -> Self {
        let lease = ObjectName::namespaced(namespace, LEASE);
        Self { store, lease, identity: identity(), timing, leading: Gauge::default() }
    }

    /// 1 while the controllers run here, 0 otherwise.
    pub(crate) fn leading(&self) -> Gauge {
        self.leading.clone()
    }

    /// Runs the controllers whenever the Lease is held, until `stop`; then the Lease is given back, and `left` dropped. Ends
    /// only if a controller does.
    pub(crate) async fn run<F>(
        self,
        stop: F,
        left: oneshot::Sender<()>,
        controllers: impl Fn() -> JoinSet<()>,
    ) where
        F: Future<Output = ()>,
    {
        tokio::pin!(stop);
        loop {
            let held = tokio::select! {
                held = self.acquire() => held,
                () = &mut stop => {
                    // It may have been taken a moment ago.
                    self.release(None).await;
                    break;
                }
            };
            let renewed = Instant::now();
            tracing::info!(identity = self.identity, lease = %self.lease, "leading: the controllers run here");
            let mut running = controllers();
            self.leading.set(1);
            let (end, held) = self.lead(held, renewed, &mut running, stop.as_mut()).await;
            running.shutdown().await;
            self.leading.set(0);
            match end {
                End::Lost => {
                    tracing::warn!(lease = %self.lease, "no longer leading: the controllers have ended here");
                }
                End::Broken => return,
                End::Stopped => {
                    self.release(Some(held)).await;
                    break;
                }
            }
        }
        drop(left);
        std::future::pending::<()>().await;
    }

    /// Waits until the Lease is this replica's.
    async fn acquire(&self) -> Lease {
        let mut seen = None;
        let mut troubled = false;
        loop {
            match self.attempt(&mut seen).await {
                Ok(Some(held)) => return held,
                Ok(None) => troubled = false,
                Err(error) if troubled => tracing::debug!(%error, "still can't become leader"),
                Err(error) => {
                    tracing::warn!(%error, "can't become leader; trying again");
                    troubled = true;
                }
            }
            sleep(self.timing.step).await;
        }
    }

    /// The Lease, if it could be taken.
    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<Option<Lease>, StoreError> {
        let taken = match self.store.get::<Lease>(&self.lease).await? {
            None => self.store.create(&self.taken(Lease::default())).await,
            Some(lease) if self.is_free(&lease, seen) => self.store.update(&self.taken(lease)).await,
            Some(_) => return Ok(None),
        };
        match taken {
            Ok(lease) => Ok(Some(lease)),
            // Somebody was faster.
            Err(
                StoreError::AlreadyExists { .. } | StoreError::Changed { .. } | StoreError::NotFound { .. },
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether nobody holds it: given back, or not renewed for as long as it says. Clocks of others don't count.
    fn is_free(&self, lease: &Lease, seen: &mut Option<Seen>) -> bool {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let now = Instant::now();
        match seen {
            Some(seen) if seen.spec == lease.spec => now - seen.since >= self.timing.duration,
            _ => {
                *seen = Some(Seen { spec: lease.spec.clone(), since: now });
                false
            }
        }
    }

    fn taken(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        lease.metadata.name = Some(self.lease.name.clone());
        lease.metadata.namespace.clone_from(&self.lease.namespace);
        let before = lease.spec.take().unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration.as_secs().max(1)).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0).saturating_add(1)),
            ..before
        });
        lease
    }

    /// Renews until that fails for too long.
    async fn lead(
        &self,
        mut held: Lease,
        mut renewed: Instant,
        running: &mut JoinSet<()>,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> (End, Lease) {
        let mut next = renewed + self.timing.step;
        loop {
            tokio::select! {
                () = &mut stop => return (End::Stopped, held),
                _ = running.join_next() => return (End::Broken, held),
                () = tokio::time::sleep_until(next) => {}
            }
            let deadline = renewed + self.timing.deadline;
            let asked = Instant::now();
            let renewal = tokio::select! {
                renewal = timeout_at(deadline, self.renew(&held)) => renewal,
                () = &mut stop => return (End::Stopped, held),
            };
            match renewal {
                Ok(Ok(Some(lease))) => (held, renewed) = (lease, asked),
                Ok(Ok(None)) => return (End::Lost, held),
                Ok(Err(error)) => tracing::warn!(%error, "can't renew the leader's Lease; trying again"),
                Err(_) => tracing::warn!("can't renew the leader's Lease in time"),
            }
            if Instant::now() >= renewed + self.timing.deadline {
                return (End::Lost, held);
            }
            next = Instant::now() + self.timing.step;
        }
    }

    /// The Lease, renewed; none if it is somebody else's by now.
    async fn renew(&self, held: &Lease) -> Result<Option<Lease>, StoreError> {
        let mut lease = held.clone();
        loop {
            if let Some(spec) = &mut lease.spec {
                spec.renew_time = Some(MicroTime(Timestamp::now()));
            }
            match self.store.update(&lease).await {
                Ok(lease) => return Ok(Some(lease)),
                Err(StoreError::NotFound { .. }) => return Ok(None),
                // Written by hand, or by an earlier renewal whose answer was lost.
                Err(StoreError::Changed { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.store.get::<Lease>(&self.lease).await? {
                Some(now) if self.holds(&now) => lease = now,
                _ => return Ok(None),
            }
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        holder == Some(self.identity.as_str())
    }

    /// Gives the Lease back if it is this replica's, so that the next one need not wait for it to run out.
    async fn release(&self, held: Option<Lease>) {
        match timeout(self.timing.step, self.give_back(held)).await {
            Ok(Ok(true)) => tracing::info!(lease = %self.lease, "gave back the leader's Lease"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "can't give back the leader's Lease if this replica has it; it runs out by itself");
            }
            Err(_) => tracing::warn!(
                "can't give back the leader's Lease in time if this replica has it; it runs out by itself"
            ),
        }
    }

    /// Whether there was something to give back.
    async fn give_back(&self, mut held: Option<Lease>) -> Result<bool, StoreError> {
        loop {
            let known = match held.take() {
                Some(held) => Some(held),
                None => self.store.get::<Lease>(&self.lease).await?,
            };
            let Some(mut lease) = known.filter(|known| self.holds(known)) else { return Ok(false) };
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = Some(String::new());
            }
            match self.store.update(&lease).await {
                // By a write of this replica's, perhaps, whose answer the stop came before.
                Err(StoreError::Changed { .. }) => {}
                written => return written.map(|_| true),
            }
        }
    }
}

/// The machine's name, for people, and something unique.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{}", host.trim(), uuid::Uuid::new_v4())
}

#[cfg(test)]
mod tests;
