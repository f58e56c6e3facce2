//! Watching one kind: a snapshot, then every change after it; anew when changes were missed.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Shared;
use super::database::{ReadError, Snapshot};
use super::record::{Key, Stored};
use super::writer::Change;
use crate::store::{Kind, WatchEvent};

/// Objects read at a time: what a watcher of a large store costs in memory.
const PAGE: usize = 256;
/// Between attempts to read a state file that fails.
const RETRY: Duration = Duration::from_millis(500);

pub(super) fn watch<K: Kind>(
    shared: Arc<Shared>,
) -> impl Stream<Item = WatchEvent<K>> + Send + Unpin + 'static {
    let watcher = Watcher::<K> {
        plural: K::plural(&()).into_owned(),
        changes: shared.changes.subscribe(),
        shared,
        pending: VecDeque::new(),
        phase: Phase::Begin,
        kind: PhantomData,
    };
    stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await;
        Some((event, watcher))
    })
    .boxed()
}

struct Watcher<K> {
    shared: Arc<Shared>,
    plural: String,
    changes: broadcast::Receiver<Arc<Change>>,
    pending: VecDeque<WatchEvent<K>>,
    phase: Phase,
    kind: PhantomData<fn() -> K>,
}

enum Phase {
    Begin,
    /// Telling what is there, as of one snapshot.
    Telling {
        snapshot: Box<Snapshot>,
        after: Option<Key>,
    },
    /// Telling changes later than this version.
    Following {
        version: u64,
    },
}

impl<K: Kind> Watcher<K> {
    async fn next(&mut self) -> WatchEvent<K> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return event;
            }
            self.phase = match std::mem::replace(&mut self.phase, Phase::Begin) {
                Phase::Begin => self.begin().await,
                Phase::Telling { snapshot, after } => self.tell(snapshot, after).await,
                Phase::Following { version } => self.follow(version).await,
            };
        }
    }

    /// Changes are collected from before the snapshot on, so that none falls between the two.
    async fn begin(&mut self) -> Phase {
        self.changes = self.changes.resubscribe();
        match self.shared.database.snapshot() {
            Ok(snapshot) => {
                self.pending.push_back(WatchEvent::Restarted);
                Phase::Telling { snapshot: Box::new(snapshot), after: None }
            }
            Err(error) => self.retry(&error).await,
        }
    }

    async fn tell(&mut self, snapshot: Box<Snapshot>, after: Option<Key>) -> Phase {
        let plural = self.plural.clone();
        let read = tokio::task::spawn_blocking(move || {
            let page = snapshot.page(&plural, after.as_ref(), PAGE);
            (snapshot, page)
        });
        let (snapshot, page) = match read.await {
            Ok((snapshot, Ok(page))) => (snapshot, page),
            Ok((_, Err(error))) => return self.retry(&error.into()).await,
            Err(error) => return self.retry(&error.into()).await,
        };
        let Some((last, _)) = page.last() else {
            self.pending.push_back(WatchEvent::Current);
            return Phase::Following { version: snapshot.version() };
        };
        let after = Some(last.clone());
        for (key, stored) in &page {
            self.push(key, stored, WatchEvent::Existing);
        }
        Phase::Telling { snapshot, after }
    }

    async fn follow(&mut self, version: u64) -> Phase {
        let change = match self.changes.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(missed)) => {
                tracing::debug!(kind = self.plural, missed, "a watch fell behind and begins anew");
                return Phase::Begin;
            }
            // Can't be: `shared` keeps the sender.
            Err(RecvError::Closed) => return self.retry(&ReadError::Closed).await,
        };
        let (key, stored, event): (_, _, fn(K) -> WatchEvent<K>) = match change.as_ref() {
            Change::Applied { key, stored } => (key, stored, WatchEvent::Applied),
            Change::Deleted { key, stored } => (key, stored, WatchEvent::Deleted),
            Change::Reopened => return Phase::Begin,
        };
        if key.plural() == self.plural && stored.version > version {
            self.push(key, stored, event);
        }
        Phase::Following { version }
    }

    /// An object that does not decode must not hide the others: it is named in the log and left out.
    fn push(&mut self, key: &Key, stored: &Stored, event: fn(K) -> WatchEvent<K>) {
        match stored.decode() {
            Ok(object) => self.pending.push_back(event(object)),
            Err(error) => {
                tracing::error!(object = %key, %error, "an object in the state file can't be understood");
            }
        }
    }

    async fn retry(&self, error: &ReadError) -> Phase {
        tracing::warn!(
            kind = self.plural,
            error = error as &dyn std::error::Error,
            "can't watch; trying again"
        );
        tokio::time::sleep(RETRY).await;
        Phase::Begin
    }
}
