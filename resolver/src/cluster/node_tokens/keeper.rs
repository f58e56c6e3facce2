//! Keeps the Secret and the keyring in step.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::keyring::Keyring;
use super::keys::{Keys, NoRandomness};
use super::rotate::rotated;
use super::terms::Terms;
use crate::causes::with_causes;
use crate::cluster::shared_secret::{SecretError, SharedSecret};
use crate::http::Readiness;
use crate::store::{ObjectName, Store};

/// The Secret with the keys.
const SECRET: &str = "knap-node-tokens";
/// What there is none of before the Secret has been read.
const LACKING: &str = "key of nodes' tokens";
/// The least time between looks, however much they are wanted: anybody can show a token of an unknown key.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a look was in vain.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("can't make a key for Secret {secret}")]
    Make { secret: ObjectName, source: NoRandomness },
}

/// Looks at the Secret often, and adds and removes keys when their time has come.
pub(crate) struct Keeper<S> {
    secret: SharedSecret<S, Keys>,
    terms: Terms,
    keyring: Arc<Keyring>,
    readiness: Arc<Readiness>,
}

impl<S: Store> Keeper<S> {
    /// For the Secret in this namespace, with the keyring that it fills.
    pub(crate) fn new(store: S, namespace: &str, readiness: Arc<Readiness>) -> (Self, Arc<Keyring>) {
        let secret = SharedSecret::new(store, ObjectName::namespaced(namespace, SECRET));
        readiness.lacks(LACKING, Some(format!("Secret {} has not been read yet", secret.name())));
        let terms = Terms::of_this_build();
        let keyring = Arc::new(Keyring::new(secret.name().to_string(), terms));
        (Self { secret, terms, keyring: Arc::clone(&keyring), readiness }, keyring)
    }

    /// Never ends.
    pub(crate) async fn run(self) {
        let mut known: Option<Keys> = None;
        let mut troubled = false;
        loop {
            let number = self.keyring.look_begins();
            let looked = self.look(&mut known).await;
            self.keyring.look_ended(number, looked.is_ok());
            match looked {
                Ok(()) => troubled = false,
                Err(error) if troubled => {
                    tracing::debug!(%error, "still can't keep the keys of nodes' tokens");
                }
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::error!(error, "can't keep the keys of nodes' tokens; trying again");
                    troubled = true;
                    if known.is_none() {
                        self.readiness.lacks(LACKING, Some(error));
                    }
                }
            }
            tokio::time::sleep(PAUSE.min(self.terms.look)).await;
            if known.is_some() {
                let _ =
                    tokio::time::timeout(self.terms.look.saturating_sub(PAUSE), self.keyring.wanted()).await;
            }
        }
    }

    /// Learns what the Secret holds, after changing it where that is due.
    async fn look(&self, known: &mut Option<Keys>) -> Result<(), KeepError> {
        let due = |current: Option<&Keys>| {
            let due = rotated(current, &self.terms, Timestamp::now());
            due.map_err(|source| KeepError::Make { secret: self.secret.name().clone(), source })
        };
        // Where another replica was faster, the next look sees what it wrote.
        let Some(keys) = self.secret.renewed(due).await? else { return Ok(()) };
        if known.as_ref() != Some(&keys) {
            let ids: Vec<&str> = keys.keys.iter().map(|key| key.id.as_str()).collect();
            tracing::info!(secret = %self.secret.name(), keys = ids.join(","), "nodes' tokens are signed and verified by these keys");
            self.keyring.replace(keys.clone());
            self.readiness.lacks(LACKING, None);
            *known = Some(keys);
        }
        Ok(())
    }
}
