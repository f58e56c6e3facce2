//! A store that counts and times every call of another.

use std::future::Future;
use std::time::Instant;

use futures::Stream;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::store::kubernetes::KubernetesStore;
use crate::store::{Kind, Labels, ObjectName, Preconditions, Store, StoreError, WatchEvent};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    verb: &'static str,
    kind: String,
    outcome: &'static str,
}

/// The calls of a store.
#[derive(Debug, Clone)]
pub struct StoreCalls {
    durations: Family<Called, Histogram>,
}

impl Default for StoreCalls {
    fn default() -> Self {
        // 0.25 ms, a write of the embedded store, to 16 s, which is past every time-out.
        let durations = Family::new_with_constructor(
            (|| Histogram::new(exponential_buckets(0.000_25, 2.0, 17))) as fn() -> _,
        );
        Self { durations }
    }
}

impl StoreCalls {
    async fn measure<K: Kind, T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let answer = call.await;
        let outcome = answer.as_ref().err().map_or("ok", outcome);
        let called = Called { verb, kind: K::plural(&()).into_owned(), outcome };
        self.durations.get_or_create(&called).observe(began.elapsed().as_secs_f64());
        answer
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "store_request_duration",
            "How long calls of the store took, by verb, kind and outcome",
            Unit::Seconds,
            self.durations.clone(),
        );
    }
}

const fn outcome(error: &StoreError) -> &'static str {
    match error {
        StoreError::AlreadyExists { .. } => "already_exists",
        StoreError::NotFound { .. } => "not_found",
        StoreError::Changed { .. } => "changed",
        StoreError::Refused { .. } => "refused",
        StoreError::Unavailable { .. } => "unavailable",
    }
}

/// A store whose calls are measured; in all else the one within.
#[derive(Debug, Clone)]
pub struct Measured<S> {
    store: S,
    calls: StoreCalls,
}

impl<S> Measured<S> {
    /// Measures the calls of a store.
    pub const fn new(store: S, calls: StoreCalls) -> Self {
        Self { store, calls }
    }
}

impl Measured<KubernetesStore> {
    /// The same store, with a queue of its own for calls, so many at a time.
    #[must_use]
    pub fn apart(&self, at_once: usize) -> Self {
        Self { store: self.store.apart(at_once), calls: self.calls.clone() }
    }

    /// Has the API server answer a question that is asked as an object.
    ///
    /// # Errors
    /// As the store's writes.
    pub async fn review<K: Kind>(&self, question: &K) -> Result<K, StoreError> {
        self.calls.measure::<K, _>("review", self.store.review(question)).await
    }
}

impl<S: Store> Store for Measured<S> {
    async fn get<K: Kind>(&self, name: &ObjectName) -> Result<Option<K>, StoreError> {
        self.calls.measure::<K, _>("get", self.store.get(name)).await
    }

    async fn list<K: Kind>(&self, labels: &Labels) -> Result<Vec<K>, StoreError> {
        self.calls.measure::<K, _>("list", self.store.list(labels)).await
    }

    async fn position<K: Kind>(&self) -> Result<u64, StoreError> {
        self.calls.measure::<K, _>("position", self.store.position::<K>()).await
    }

    fn watch<K: Kind>(&self) -> impl Stream<Item = WatchEvent<K>> + Send + Unpin + 'static {
        self.store.watch()
    }

    async fn create<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        self.calls.measure::<K, _>("create", self.store.create(object)).await
    }

    async fn update<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        self.calls.measure::<K, _>("update", self.store.update(object)).await
    }

    async fn update_status<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        self.calls.measure::<K, _>("update_status", self.store.update_status(object)).await
    }

    async fn delete<K: Kind>(
        &self,
        name: &ObjectName,
        preconditions: &Preconditions,
    ) -> Result<(), StoreError> {
        self.calls.measure::<K, _>("delete", self.store.delete::<K>(name, preconditions)).await
    }
}
