//! The store of a cluster: the Kubernetes API. Every read asks for what is there now (no resourceVersion means a quorum
//! read), every write is sent once, and every call ends in bounded time.
//!
//! A write without an answer is [`StoreError::Unavailable`], never retried here: only the caller knows whether the same
//! write may be sent again.

mod call;
mod failure;
mod watch;

use std::fmt::Debug;
use std::time::Duration;

use futures::Stream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Client, Config};
use serde::Serialize;

use self::call::{CallError, Calls};
use self::failure::{Subject, Verb};
use super::{Kind, Labels, ObjectName, Preconditions, Store, StoreError, WatchEvent, metadata};

/// How the API server records who owns a field.
pub const FIELD_MANAGER: &str = "knap-resolver";

/// Reviews at a time. Anybody can cause them, so they never take the turns of other calls.
const REVIEWS_AT_ONCE: usize = 16;

/// For a connection to the API server, its TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[error("the configuration for the Kubernetes API at {server} can't be used")]
pub struct ConnectError {
    /// The API server's URL.
    pub server: String,
    /// The cause.
    #[source]
    pub source: kube::Error,
}

/// Objects in the Kubernetes API.
#[derive(Clone)]
pub struct KubernetesStore {
    calls: Calls,
    reviews: Calls,
    watches: Client,
}

impl KubernetesStore {
    /// Prepares the connections; nothing is sent yet, so the API server may still be down.
    ///
    /// # Errors
    /// Where the configuration asks for what this build does not have, or its certificates can't be read.
    pub fn new(config: Config) -> Result<Self, ConnectError> {
        let server = config.cluster_url.to_string();
        let mut calls = config;
        calls.connect_timeout = Some(CONNECT_TIMEOUT);
        // It would repeat writes too, for longer than anybody waits.
        calls.default_retry = false;
        // Of whatever is asked by the client itself too: a connection that says nothing for longer is dead.
        calls.read_timeout = Some(call::PAGE);
        // An answer is waited for from its request on, not from when its connection went idle.
        calls.reset_reader_on_write = true;
        let mut watches = calls.clone();
        watches.read_timeout = Some(watch::Terms::of_this_build().silence);
        let client = |config| {
            Client::try_from(config).map_err(|source| ConnectError { server: server.clone(), source })
        };
        let calls = Calls::new(client(calls)?);
        Ok(Self { reviews: calls.apart(REVIEWS_AT_ONCE), calls, watches: client(watches)? })
    }

    /// The same store, with a queue of its own for calls, so many at a time: for those that anybody can cause.
    #[must_use]
    pub fn apart(&self, at_once: usize) -> Self {
        Self { calls: self.calls.apart(at_once), ..self.clone() }
    }

    /// The client that calls are made with, for what is no matter of a store. It waits half a minute for an answer.
    pub fn client(&self) -> Client {
        self.calls.client.clone()
    }

    /// Has the object say what `object` says, by server-side apply: what others have set beside it stays. Without `force`,
    /// what others have set differently is [`StoreError::Changed`]. With a UID, another object of the name is left alone.
    ///
    /// # Errors
    /// As the store's writes.
    pub async fn apply<K: Kind>(&self, object: &K, force: bool) -> Result<K, StoreError> {
        let name = ObjectName::of(object);
        let subject = Subject::new::<K>(Verb::Apply, &name);
        metadata::check(object.meta()).map_err(|reason| subject.refused(&reason.to_string()))?;
        let parameters = PatchParams { force, ..PatchParams::apply(FIELD_MANAGER) };
        self.patch(&subject, &Patch::Apply(object), &parameters).await
    }

    /// Changes an object by a JSON merge patch (RFC 7386), for what an apply can't say: that a field of others must go.
    ///
    /// # Errors
    /// As the store's writes.
    pub async fn merge<K: Kind>(
        &self,
        name: &ObjectName,
        patch: &serde_json::Value,
    ) -> Result<K, StoreError> {
        let subject = Subject::new::<K>(Verb::Update, name);
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.patch(&subject, &Patch::Merge(patch), &parameters).await
    }

    /// Has the API server answer a question that is asked as an object, a TokenReview say; nothing is stored.
    ///
    /// # Errors
    /// As the store's writes.
    pub async fn review<K: Kind>(&self, question: &K) -> Result<K, StoreError> {
        let name = ObjectName::cluster("");
        let subject = Subject::new::<K>(Verb::Create, &name);
        let body = serde_json::to_vec(question).map_err(|error| subject.refused(&error.to_string()))?;
        let request = path::<K>(&name).create(&PostParams::default(), body);
        let request = request.map_err(|error| subject.refused(&error.to_string()))?;
        let answered = self.reviews.one(self.reviews.client.request::<K>(request)).await;
        answered.map_err(|error| subject.failed(error))
    }

    async fn patch<K: Kind, P: Serialize + Debug>(
        &self,
        subject: &Subject<'_>,
        patch: &Patch<P>,
        parameters: &PatchParams,
    ) -> Result<K, StoreError> {
        let name = subject.name();
        let request = path::<K>(name).patch(&name.name, parameters, patch);
        let request = request.map_err(|error| subject.refused(&error.to_string()))?;
        let patched = self.calls.one(self.calls.client.request::<K>(request)).await;
        patched.map(without_managed_fields).map_err(|error| subject.failed(error))
    }

    async fn put<K: Kind>(&self, object: &K, subresource: Option<&str>) -> Result<K, StoreError> {
        let name = ObjectName::of(object);
        let subject = Subject::new::<K>(Verb::Update, &name);
        metadata::check(object.meta()).map_err(|reason| subject.refused(&reason.to_string()))?;
        // Of some kinds, the API server would take it as a wish to overwrite whatever is there.
        if object.meta().resource_version.is_none() {
            return Err(subject.refused("metadata.resourceVersion must be the one that was read"));
        }
        let body = serde_json::to_vec(object).map_err(|error| subject.refused(&error.to_string()))?;
        let (path, parameters) = (path::<K>(&name), parameters());
        let request = match subresource {
            Some(subresource) => path.replace_subresource(subresource, &name.name, &parameters, body),
            None => path.replace(&name.name, &parameters, body),
        };
        let request = request.map_err(|error| subject.refused(&error.to_string()))?;
        let replaced = self.calls.one(self.calls.client.request::<K>(request)).await;
        match replaced.map(without_managed_fields).map_err(|error| subject.failed(error)) {
            // The API server finds that the UID of what is not there differs.
            Err(StoreError::Changed { .. }) if matches!(self.get::<K>(&name).await, Ok(None)) => {
                Err(subject.not_found())
            }
            replaced => replaced,
        }
    }
}

impl Store for KubernetesStore {
    async fn get<K: Kind>(&self, name: &ObjectName) -> Result<Option<K>, StoreError> {
        let subject = Subject::new::<K>(Verb::Read, name);
        if !can_exist(name) {
            return Ok(None);
        }
        let request = path::<K>(name).get(&name.name, &GetParams::default());
        let request = request.map_err(|error| subject.refused(&error.to_string()))?;
        match self
            .calls
            .one(self.calls.client.request::<K>(request))
            .await
            .map_err(|error| subject.failed(error))
        {
            Ok(object) => Ok(Some(without_managed_fields(object))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list<K: Kind>(&self, labels: &Labels) -> Result<Vec<K>, StoreError> {
        self.calls.list(labels).await.map_err(|error| StoreError::Unavailable {
            action: format!("list {}", K::plural(&())),
            source: Box::new(error.of::<K>()),
        })
    }

    async fn position<K: Kind>(&self) -> Result<u64, StoreError> {
        self.calls.position::<K>().await.map_err(|error| StoreError::Unavailable {
            action: format!("look for changes of {}", K::plural(&())),
            source: Box::new(error.of::<K>()),
        })
    }

    fn watch<K: Kind>(&self) -> impl Stream<Item = WatchEvent<K>> + Send + Unpin + 'static {
        watch::watch(&self.watches)
    }

    async fn create<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        let name = ObjectName::of(object);
        let subject = Subject::new::<K>(Verb::Create, &name);
        metadata::check(object.meta()).map_err(|reason| subject.refused(&reason.to_string()))?;
        let body = if object.meta().resource_version.is_some() {
            let mut object = object.clone();
            object.meta_mut().resource_version = None;
            serde_json::to_vec(&object)
        } else {
            serde_json::to_vec(object)
        };
        let body = body.map_err(|error| subject.refused(&error.to_string()))?;
        let request = path::<K>(&name).create(&parameters(), body);
        let request = request.map_err(|error| subject.refused(&error.to_string()))?;
        let created = self.calls.one(self.calls.client.request::<K>(request)).await;
        created.map(without_managed_fields).map_err(|error| subject.failed(error))
    }

    async fn update<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        self.put(object, None).await
    }

    async fn update_status<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        self.put(object, Some("status")).await
    }

    async fn delete<K: Kind>(&self, name: &ObjectName, wanted: &Preconditions) -> Result<(), StoreError> {
        let subject = Subject::new::<K>(Verb::Delete, name);
        if !can_exist(name) {
            return Err(subject.not_found());
        }
        let preconditions = kube::api::Preconditions {
            uid: wanted.uid.clone(),
            resource_version: wanted.resource_version.clone(),
        };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let request = path::<K>(name).delete(&name.name, &parameters);
        let request = request.map_err(|error| subject.refused(&error.to_string()))?;
        // The answer is the object or a word of success: nothing that a caller needs.
        self.calls
            .one(self.calls.client.request_text(request))
            .await
            .map(drop)
            .map_err(|error| subject.failed(error))
    }
}

fn path<K: Kind>(name: &ObjectName) -> Request {
    Request::new(K::url_path(&(), name.namespace.as_deref()))
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// A name that no object can have must not become part of a path either.
fn can_exist(name: &ObjectName) -> bool {
    let meta = ObjectMeta {
        name: Some(name.name.clone()),
        namespace: name.namespace.clone(),
        ..ObjectMeta::default()
    };
    metadata::check(&meta).is_ok()
}

/// They are as large as the rest of a lease, and the API server keeps them where an update leaves them out.
fn without_managed_fields<K: Kind>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

impl CallError {
    /// A 404 of a whole kind says that its definition is missing.
    fn of<K: Kind>(self) -> Self {
        match self {
            Self::Client(kube::Error::Api(status)) if status.code == 404 => Self::not_served::<K>(),
            other => other,
        }
    }
}
