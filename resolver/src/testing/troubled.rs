//! A store in which a test holds calls up, or loses them or their answers, or in which watches tell less than there is.

use std::future::ready;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};

use crate::store::{Kind, Labels, ObjectName, Preconditions, Store, StoreError, WatchEvent};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done and answered.
    Served,
    /// It never arrives.
    Lost,
    /// It is done, and its answer is lost.
    Unanswered,
    /// It is done, and no word of it comes.
    Silent,
}

/// One call, as a test tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) verb: &'static str,
    /// In the plural.
    pub(crate) kind: String,
    /// Of the object; empty for a list.
    pub(crate) name: String,
}

/// What watches tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watches {
    All,
    Beginning,
    Nothing,
}

type Decide = dyn Fn(Call) -> BoxFuture<'static, Fate> + Send + Sync;

/// In all but the trouble, the store within.
#[derive(Clone)]
pub(crate) struct Troubled<S> {
    store: S,
    fate: Arc<Decide>,
    watches: Watches,
}

impl<S: Store> Troubled<S> {
    /// A store whose calls meet their fate when this says so.
    pub(crate) fn new<F>(store: &S, fate: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Fate> + Send + 'static,
    {
        Self { store: store.clone(), fate: Arc::new(move |call| fate(call).boxed()), watches: Watches::All }
    }

    /// One whose watches tell what there is, and then nothing more: that of a replica that is cut off from events.
    pub(crate) fn held_back(store: &S) -> Self {
        Self { watches: Watches::Beginning, ..Self::new(store, |_| ready(Fate::Served)) }
    }

    /// One whose watches tell nothing at all: that of a replica that has only started.
    pub(crate) fn silent(store: &S) -> Self {
        Self { watches: Watches::Nothing, ..Self::new(store, |_| ready(Fate::Served)) }
    }

    async fn meet<K: Kind, T>(
        &self,
        verb: &'static str,
        name: &str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let kind = K::plural(&()).into_owned();
        let action = format!("{verb} {kind} {name}");
        let lost = || StoreError::Unavailable { action, source: "it is lost".into() };
        match (self.fate)(Call { verb, kind, name: name.to_owned() }).await {
            Fate::Served => call.await,
            Fate::Lost => Err(lost()),
            Fate::Unanswered => call.await.and_then(|_| Err(lost())),
            Fate::Silent => {
                let _ = call.await;
                std::future::pending().await
            }
        }
    }
}

impl<S: Store> Store for Troubled<S> {
    async fn get<K: Kind>(&self, name: &ObjectName) -> Result<Option<K>, StoreError> {
        self.meet::<K, _>("get", &name.name, self.store.get(name)).await
    }

    async fn list<K: Kind>(&self, labels: &Labels) -> Result<Vec<K>, StoreError> {
        self.meet::<K, _>("list", "", self.store.list(labels)).await
    }

    async fn position<K: Kind>(&self) -> Result<u64, StoreError> {
        self.store.position::<K>().await
    }

    fn watch<K: Kind>(&self) -> impl Stream<Item = WatchEvent<K>> + Send + Unpin + 'static {
        let watches = self.watches;
        let tells = move |event: &WatchEvent<K>| {
            ready(match watches {
                Watches::All => true,
                Watches::Beginning => !matches!(event, WatchEvent::Applied(_) | WatchEvent::Deleted(_)),
                Watches::Nothing => false,
            })
        };
        Box::pin(self.store.watch::<K>().take_while(tells).chain(futures::stream::pending()))
    }

    async fn create<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        self.meet::<K, _>("create", &ObjectName::of(object).name, self.store.create(object)).await
    }

    async fn update<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        self.meet::<K, _>("update", &ObjectName::of(object).name, self.store.update(object)).await
    }

    async fn update_status<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        self.meet::<K, _>("update_status", &ObjectName::of(object).name, self.store.update_status(object))
            .await
    }

    async fn delete<K: Kind>(
        &self,
        name: &ObjectName,
        preconditions: &Preconditions,
    ) -> Result<(), StoreError> {
        self.meet::<K, _>("delete", &name.name, self.store.delete::<K>(name, preconditions)).await
    }
}
