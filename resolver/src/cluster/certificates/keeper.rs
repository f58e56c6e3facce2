//! Keeps the Secret, the ConfigMap and what is served in step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;

use super::issue::IssueError;
use super::material::Material;
use super::renew::renewed;
use super::served::{Served, ServedError};
use super::terms::Terms;
use crate::causes::with_causes;
use crate::cluster::named;
use crate::cluster::shared_secret::{Document, SecretError, SharedSecret};
use crate::cluster::webhooks::Publisher;
use crate::http::Readiness;
use crate::store::{ObjectName, Store, StoreError};

/// The Secret with authorities, certificates and keys.
const SECRET: &str = "knap-certificates";
/// The ConfigMap with the certificates that nodes trust.
const BUNDLE: &str = "knap-ca";
/// Where both hold the certificates that nodes trust: the key that Kubernetes uses for such.
const AUTHORITIES: &str = "ca.crt";
/// What there is none of before the Secret has been read.
const LACKING: &str = "certificate that nodes trust";
/// Between attempts while there is nothing to serve.
const IMPATIENT: Duration = Duration::from_secs(1);
/// Between looks while the API server can't ask: what it asks about may be refused meanwhile.
const SOON: Duration = Duration::from_secs(5);

/// Whether the API server trusts what is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Published {
    /// By every webhook object.
    Everywhere,
    /// An object is not there: it may be applied after the resolver, or never.
    NotYet,
    /// An object can't be read or changed.
    Failed,
}

/// Why a look was in vain.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("Secret {secret} can't be served from: restore it, or delete it {}", Material::ANEW)]
    Unusable { secret: ObjectName, source: ServedError },
    #[error("can't make what Secret {secret} should hold")]
    Issue { secret: ObjectName, source: IssueError },
    #[error(transparent)]
    Publish(#[from] StoreError),
}

impl Document for Material {
    const ENTRY: &'static str = "certificates.json";
    const ANEW: &'static str = "to begin with new certificates (nodes then need the new ConfigMap knap-ca)";

    fn beside(&self) -> Option<(&'static str, Vec<u8>)> {
        Some((AUTHORITIES, self.bundle().into_bytes()))
    }
}

/// Looks at the Secret now and then, and renews what runs out.
pub(crate) struct Keeper<S> {
    store: S,
    secret: SharedSecret<S, Material>,
    bundle: ObjectName,
    names: BTreeSet<String>,
    terms: Terms,
    served: Arc<Served>,
    readiness: Arc<Readiness>,
    webhooks: Publisher,
}

impl<S: Store> Keeper<S> {
    /// For the service known by these names, with its Secret in this namespace.
    pub(crate) fn new(
        store: S,
        namespace: &str,
        names: BTreeSet<String>,
        served: Arc<Served>,
        readiness: Arc<Readiness>,
        webhooks: Publisher,
    ) -> Self {
        let secret = SharedSecret::new(store.clone(), ObjectName::namespaced(namespace, SECRET));
        let bundle = ObjectName::namespaced(namespace, BUNDLE);
        readiness.lacks(LACKING, Some(format!("Secret {} has not been read yet", secret.name())));
        Self { store, secret, bundle, names, terms: Terms::of_this_build(), served, readiness, webhooks }
    }

    /// Never ends.
    pub(crate) async fn run(self) {
        let mut shown = None;
        let mut is_trusted = false;
        let mut troubled = false;
        let mut published = Published::NotYet;
        loop {
            match self.look(&mut shown).await {
                Ok(()) => {
                    troubled = false;
                    // Another replica may have been faster in writing the Secret: then there is nothing to show yet.
                    if let Some(material) = &shown {
                        if !std::mem::replace(&mut is_trusted, true) {
                            self.readiness.lacks(LACKING, None);
                        }
                        published = self.publish_to_webhooks(material, published).await;
                    }
                }
                Err(error) if troubled => tracing::debug!(%error, "still can't keep the certificates"),
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::error!(error, "can't keep the certificates; trying again");
                    troubled = true;
                    if !is_trusted {
                        self.readiness.lacks(LACKING, Some(error));
                    }
                }
            }
            let pause = match published {
                _ if !is_trusted => IMPATIENT,
                Published::Everywhere => self.terms.look,
                Published::NotYet | Published::Failed => self.terms.look.min(SOON),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Serves and publishes what the Secret holds, after renewing it where that is due.
    async fn look(&self, shown: &mut Option<Material>) -> Result<(), KeepError> {
        let Some(material) = self.kept().await? else { return Ok(()) };
        if shown.as_ref() != Some(&material) {
            self.served.replace(&material.serving).map_err(|source| self.unusable(source))?;
            let serving = &material.serving;
            tracing::info!(secret = %self.secret.name(), expires = %serving.term.expires, names = ?serving.names, "serving by a new certificate");
            *shown = Some(material.clone());
        }
        self.publish(&material).await
    }

    /// What the Secret holds; none if another replica was faster in writing it.
    async fn kept(&self) -> Result<Option<Material>, KeepError> {
        let due = |current: Option<&Material>| {
            let now = Timestamp::now();
            if let Some(early) = current.filter(|current| !current.serving.term.has_begun(&self.terms, now)) {
                let begins = early.serving.term.begins(&self.terms);
                tracing::warn!(secret = %self.secret.name(), %begins, %now, "the certificate has not begun yet; making another. The \
                     clock of the replica that made it is ahead, or this one's is behind: set them");
            }
            let due = renewed(current, &self.names, &self.terms, now);
            due.map_err(|source| KeepError::Issue { secret: self.secret.name().clone(), source })
        };
        self.secret.renewed(due).await
    }

    /// Lets the ConfigMap hold the certificates that nodes trust.
    async fn publish(&self, material: &Material) -> Result<(), KeepError> {
        let bundle = material.bundle();
        let published = self.store.get::<ConfigMap>(&self.bundle).await?;
        let held = published.as_ref().and_then(|map| map.data.as_ref()?.get(AUTHORITIES));
        if held == Some(&bundle) {
            return Ok(());
        }
        let is_new = published.is_none();
        let mut map =
            published.unwrap_or_else(|| ConfigMap { metadata: named(&self.bundle), ..ConfigMap::default() });
        map.data.get_or_insert_default().insert(AUTHORITIES.to_owned(), bundle);
        let written = if is_new { self.store.create(&map).await } else { self.store.update(&map).await };
        match written {
            Ok(_) => Ok(()),
            // Another replica was faster; the next look sees what it wrote.
            Err(
                StoreError::AlreadyExists { .. } | StoreError::Changed { .. } | StoreError::NotFound { .. },
            ) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Has the API server trust them too. Nodes are served whether it does or not.
    async fn publish_to_webhooks(&self, material: &Material, before: Published) -> Published {
        match self.webhooks.publish(&material.bundle()).await {
            Ok(true) => Published::Everywhere,
            Ok(false) => Published::NotYet,
            Err(error) => {
                if before != Published::Failed {
                    tracing::warn!(%error, "the API server may not be able to ask; trying again");
                }
                Published::Failed
            }
        }
    }

    fn unusable(&self, source: ServedError) -> KeepError {
        KeepError::Unusable { secret: self.secret.name().clone(), source }
    }
}
