//! The certificate as TLS shows it, replaced while connections come.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::issue::{self, IssueError};
use super::material::Serving;
use super::terms::Terms;

/// Why a certificate can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServedError {
    /// Not PEM.
    #[error("the certificate or its key is not PEM")]
    Pem(#[from] pem::Error),
    /// The key does not fit, or the library refuses it.
    #[error("the certificate can't be served")]
    Tls(#[from] rustls::Error),
    /// The one for the beginning.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// What is shown to whoever connects.
#[derive(Debug)]
pub(crate) struct Served(ArcSwap<CertifiedKey>);

impl Served {
    /// Shows a certificate that nobody trusts, until the Secret has been read. Probes don't mind, and they have to be answered
    /// even while the API server is down.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn provisional() -> Result<Arc<Self>, ServedError> {
        let now = k8s_openapi::jiff::Timestamp::now();
        let terms = Terms::default();
        let authority = issue::authority(&terms, now)?;
        let serving = issue::serving(&authority, &["localhost".to_owned()].into(), &terms, now)?;
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified(&serving)?))))
    }

    /// From now on this is shown.
    pub(super) fn replace(&self, serving: &Serving) -> Result<(), ServedError> {
        self.0.store(Arc::new(certified(serving)?));
        Ok(())
    }

    /// How connections are accepted: TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// None that this build could meet.
    pub(crate) fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, ServedError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn certified(serving: &Serving) -> Result<CertifiedKey, ServedError> {
    let chain =
        CertificateDer::pem_slice_iter(serving.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(serving.key.pem().as_bytes())?;
    let certified = CertifiedKey::new(chain, ring::sign::any_supported_type(&key)?);
    certified.keys_match()?;
    Ok(certified)
}
