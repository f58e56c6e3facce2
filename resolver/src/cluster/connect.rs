//! How to reach the API server: from a kubeconfig, or in a pod from its service account.

use std::io;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Why it is not known how.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named by `--kubeconfig`.
    #[error("can't use the kubeconfig {file}")]
    File {
        /// As given.
        file: PathBuf,
        /// The cause.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The one that kubectl would use.
    #[error("can't use the kubeconfig of KUBECONFIG or ~/.kube/config")]
    Current(#[source] Box<KubeconfigError>),
    /// Nothing to go by.
    #[error(
        "can't find out how to reach the Kubernetes API: name a kubeconfig by --kubeconfig, or run in a pod"
    )]
    NoCluster(#[source] Box<InferConfigError>),
}

/// By this file, or where none is given as kubectl would, or by the service account of the pod that this runs in.
pub(crate) async fn given_or_inferred(file: Option<&Path>) -> Result<Config, ConfigError> {
    match file {
        Some(file) => given(file).await,
        None => Config::infer().await.map_err(|error| ConfigError::NoCluster(Box::new(error))),
    }
}

/// By this file.
pub(crate) async fn given(file: &Path) -> Result<Config, ConfigError> {
    let unusable = |source| ConfigError::File { file: file.to_owned(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(file).map_err(unusable)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(unusable)
}

/// As kubectl would; none where it would know of no cluster.
pub(crate) async fn current() -> Result<Option<Config>, ConfigError> {
    let unusable = |source| ConfigError::Current(Box::new(source));
    let kubeconfig = match Kubeconfig::read() {
        Err(KubeconfigError::ReadConfig(source, _)) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(KubeconfigError::FindPath) => return Ok(None),
        read => read.map_err(unusable)?,
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    config.map(Some).map_err(unusable)
}
