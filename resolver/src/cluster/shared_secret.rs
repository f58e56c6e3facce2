//! What all replicas share in a Secret: one JSON document. Whoever finds first that it has to change writes it; creating the
//! Secret, or updating it unless it has changed, is the lock.

use std::marker::PhantomData;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::named;
use crate::store::{ObjectName, Store, StoreError};

/// Why a document is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    /// The Secret could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else wrote it, or half of it.
    #[error("Secret {secret} does not hold what Knap wrote there: restore it, or delete it {anew}")]
    Unreadable { secret: ObjectName, anew: &'static str, source: serde_json::Error },
    /// A defect of ours.
    #[error("can't write what Secret {secret} should hold")]
    Write { secret: ObjectName, source: serde_json::Error },
}

/// What such a Secret holds.
pub(super) trait Document: Clone + Serialize + DeserializeOwned {
    /// Under which key.
    const ENTRY: &'static str;
    /// What deleting the Secret does: the end of a sentence.
    const ANEW: &'static str;

    /// What else the Secret shows of it, for those who want only that.
    fn beside(&self) -> Option<(&'static str, Vec<u8>)> {
        None
    }
}

/// One Secret of the resolver's namespace.
#[derive(Debug)]
pub(super) struct SharedSecret<S, D> {
    store: S,
    name: ObjectName,
    document: PhantomData<fn() -> D>,
}

impl<S: Store, D: Document> SharedSecret<S, D> {
    /// Nothing is read yet.
    pub(super) const fn new(store: S, name: ObjectName) -> Self {
        Self { store, name, document: PhantomData }
    }

    pub(super) const fn name(&self) -> &ObjectName {
        &self.name
    }

    /// What the Secret holds, after writing it where `due` says what it should hold instead. None if another replica was
    /// faster in writing it: the next look sees what.
    pub(super) async fn renewed<E: From<SecretError>>(
        &self,
        due: impl FnOnce(Option<&D>) -> Result<Option<D>, E>,
    ) -> Result<Option<D>, E> {
        let secret = self.store.get::<Secret>(&self.name).await.map_err(SecretError::from)?;
        let current = secret.as_ref().map(|secret| self.read(secret)).transpose()?;
        let Some(next) = due(current.as_ref())? else { return Ok(current) };
        let is_new = secret.is_none();
        let secret = self.written(secret, &next)?;
        let written =
            if is_new { self.store.create(&secret).await } else { self.store.update(&secret).await };
        match written {
            Ok(_) => Ok(Some(next)),
            Err(
                StoreError::AlreadyExists { .. } | StoreError::Changed { .. } | StoreError::NotFound { .. },
            ) => Ok(None),
            Err(error) => Err(SecretError::from(error).into()),
        }
    }

    fn read(&self, secret: &Secret) -> Result<D, SecretError> {
        let held = secret.data.as_ref().and_then(|data| data.get(D::ENTRY)).map(|held| held.0.as_slice());
        serde_json::from_slice(held.unwrap_or_default()).map_err(|source| SecretError::Unreadable {
            secret: self.name.clone(),
            anew: D::ANEW,
            source,
        })
    }

    fn written(&self, secret: Option<Secret>, document: &D) -> Result<Secret, SecretError> {
        let text = serde_json::to_vec_pretty(document)
            .map_err(|source| SecretError::Write { secret: self.name.clone(), source })?;
        let mut secret =
            secret.unwrap_or_else(|| Secret { metadata: named(&self.name), ..Secret::default() });
        let data = secret.data.get_or_insert_default();
        data.insert(D::ENTRY.to_owned(), ByteString(text));
        if let Some((entry, content)) = document.beside() {
            data.insert(entry.to_owned(), ByteString(content));
        }
        Ok(secret)
    }
}
