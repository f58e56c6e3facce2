//! Whom a test trusts when it calls a resolver: those whom the ConfigMap names, as nodes do.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rustls::crypto::ring;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsConfigBuilder, TlsProvider, parse_pem};

/// Where resolvers of tests keep what is their own.
pub const NAMESPACE: &str = "default";

/// A resolver that runs publishes it in less.
const SOON: Duration = Duration::from_secs(20);

/// By kubeconfig, since every API has resolvers of its own.
static KNOWN: LazyLock<Mutex<HashMap<PathBuf, String>>> = LazyLock::new(Mutex::default);

/// The certificates in the ConfigMap, in PEM, read once; none if it does not come soon.
pub(super) async fn authorities(kubeconfig: &Path) -> Option<String> {
    if let Some(known) = KNOWN.lock().expect("no panic under the lock").get(kubeconfig) {
        return Some(known.clone());
    }
    let client = client(kubeconfig).await;
    let begin = Instant::now();
    let read = loop {
        match published(&client).await {
            Some(read) => break read,
            None if begin.elapsed() > SOON => return None,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    KNOWN.lock().expect("no panic under the lock").insert(kubeconfig.to_owned(), read.clone());
    Some(read)
}

/// The same, read now.
pub async fn published(client: &Client) -> Option<String> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    maps.get_opt("knap-ca").await.ok()??.data?.remove("ca.crt")
}

/// Trusts what these sign.
pub fn these(pem: &str) -> TlsConfig {
    let certificates: Vec<_> = parse_pem(pem.as_bytes())
        .map(|item| match item.expect("PEM") {
            PemItem::Certificate(certificate) => certificate,
            _ => panic!("the ConfigMap holds what is no certificate"),
        })
        .collect();
    builder().root_certs(RootCerts::new_with_certs(&certificates)).build()
}

/// Trusts whatever answers.
pub(super) fn anyone() -> TlsConfig {
    builder().disable_verification(true).build()
}

fn builder() -> TlsConfigBuilder {
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
}

/// A client of the user whose kubeconfig this is.
pub(super) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a client's configuration")).expect("a client")
}
