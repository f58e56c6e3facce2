//! The controller of Networks: from what a developer asks for to what is reserved for it.
//!
//! One pass is a pipeline: fetch (from the view), choose (pure), take and verify (the store), status. Nothing is kept
//! between passes but what is in the store, so that another replica can go on at any point.

mod choose;
mod class;
mod error;
mod fetch;
mod finish;
mod granted;
mod network;
mod news;
mod reserved;
mod retire;
mod status;
mod surroundings;
mod take;
mod trial;
mod verify;
mod work;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

pub(crate) use choose::{built_in_by_name, built_in_classes};
pub(crate) use class::check_class;
pub(crate) use granted::{Granted, display_name, subnets_in_use};
pub use news::News;
pub(crate) use reserved::{Thing, is_draining, is_verified};
pub(crate) use status::{READY, class_name, condition, is_decided, is_ready, is_refused};
pub use surroundings::{Alone, Surroundings};
pub(crate) use surroundings::{Published, Subject, Trouble};
pub(crate) use trial::{Namespaces, Trial, classes_with};

use crate::store::{Store, StoreError};
use crate::view::{Change, View};
use fetch::Fetched;
use network::Looked;
use work::Work;

/// How many Networks may have to wait for the store before it is seen what has changed meanwhile.
const TURN: usize = 64;
/// How often the counts in statuses follow the leases.
const COUNTS: Duration = Duration::from_secs(10);
/// How often everything is looked at, changed or not.
const RESYNC: Duration = Duration::from_secs(300);

type Changes = mpsc::UnboundedReceiver<Change>;

/// What a store can't do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// Whether there are StatefulSets and virtual machines for whom an address can be kept.
    pub sticky: bool,
}

/// Provisions Networks. One of all replicas runs it.
#[derive(Debug)]
pub struct Provisioner<S, A = Alone> {
    surroundings: A,
    store: S,
    view: Arc<View>,
    rules: Rules,
    /// Whether the view is told what is written to the store.
    told: bool,
}

impl<S: Store> Provisioner<S> {
    /// A controller over a store and the picture of it, on a single host.
    pub fn new(store: S, view: Arc<View>, rules: Rules) -> Self {
        Self::among(Alone, store, view, rules)
    }

    /// One whose writes to the store only seem to happen.
    fn on_trial(store: S, view: Arc<View>, rules: Rules) -> Self {
        Self { told: false, ..Self::new(store, view, rules) }
    }
}

impl<S: Store, A: Surroundings> Provisioner<S, A> {
    /// A controller over a store and the picture of it, with all that is around them.
    pub fn among(surroundings: A, store: S, view: Arc<View>, rules: Rules) -> Self {
        Self { surroundings, store, view, rules, told: true }
    }

    /// Runs until it is dropped. Tells when every Network has been looked at once, and there was nothing left to do.
    pub async fn run(self, first_pass: oneshot::Sender<()>) {
        let mut changes = self.view.changes();
        self.view.current().await;
        let mut first_pass = Some(first_pass);
        let mut work = Work::everything();
        let mut counts = interval(COUNTS);
        let mut resync = interval(RESYNC);
        loop {
            self.turn(&mut work, &mut changes).await;
            if work.is_empty()
                && let Some(first_pass) = first_pass.take()
            {
                // Nobody may be waiting.
                let _ = first_pass.send(());
            }
            let again = work.again();
            tokio::select! {
                () = std::future::ready(()), if !work.is_empty() => {}
                change = changes.recv() => match change {
                    Some(change) => work.add(change),
                    None => return,
                },
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => work.retry(),
                _ = counts.tick() => work.counts(),
                _ = resync.tick() => work.all(),
            }
        }
    }

    /// Looks at Networks in their order, until none is left, or some have cost the store something. Those that cost nothing
    /// don't count: however often others take their places before them, each turn gets on.
    async fn turn(&self, work: &mut Work, changes: &mut Changes) {
        if work.is_empty() {
            return;
        }
        work.catch_up(&self.view);
        let mut fetched = Fetched::new(&self.view);
        work.recall(&mut fetched);
        // Now, so that what has come free in this picture is known to have: whoever waited for it is first.
        while let Ok(change) = changes.try_recv() {
            work.add(change);
        }
        work.gather(&self.view, &mut fetched);
        let mut waited_for = 0;
        while waited_for < TURN
            && !fetched.has_room()
            && let Some(due) = work.next()
        {
            tokio::task::coop::consume_budget().await;
            let (looked, waited) = noting(self.network(&due, &mut fetched)).await;
            waited_for += usize::from(waited);
            match looked {
                Ok(Looked::Done) => {}
                Ok(Looked::Settled(network)) => work.settled(&network),
                Err(error) => {
                    tracing::warn!(network = %due.name, %error, "can't provision now; trying again");
                    work.failed(due.name);
                }
            }
        }
        if fetched.has_room() {
            work.room();
        }
        work.remember(fetched.into_moved());
        if work.take_sweep()
            && let Err(error) = self.sweep().await
        {
            tracing::warn!(%error, "can't free what removed networks had; trying again");
            work.failed_sweep();
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        let freed = retire::sweep(&self.store, &self.view).await;
        freed.and(self.surroundings.sweep().await)
    }
}

/// What comes of something, and whether it had to wait: whether it was more than a calculation.
async fn noting<T>(future: impl Future<Output = T>) -> (T, bool) {
    let mut future = pin!(future);
    let mut waited = false;
    let done = poll_fn(|context| {
        let done = future.as_mut().poll(context);
        waited |= done.is_pending();
        done
    });
    (done.await, waited)
}

fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests;
