//! Reading the node file: where the resolver is, and where the ledger.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use knap_client::{Endpoint, EndpointError};
use knap_protocol::{CniCode, NodeFile};

use crate::environment::Environment;
use crate::failure::Failure;

/// Where the installer writes it.
pub const DEFAULT_PATH: &str = "/etc/cni/net.d/knap.d/node.json";

/// The node file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeFileError {
    /// It is not there, or not for us.
    #[error("can't read the node file {}: {source}; install knap on this node, or name the file in KNAP_CONFIG",
        path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error("can't decode the node file {}: {source}; correct it", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// It names no resolver.
    #[error("the node file {} names no resolver: write an address into resolver.endpoints", path.display())]
    NoEndpoint {
        /// The file.
        path: PathBuf,
    },
    /// It names a resolver that can't be called.
    #[error("the node file {}: {source}", path.display())]
    Endpoint {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        source: EndpointError,
    },
}

impl From<NodeFileError> for Failure {
    fn from(error: NodeFileError) -> Self {
        let code = match error {
            NodeFileError::Read { .. } => CniCode::IO,
            NodeFileError::Decode { .. }
            | NodeFileError::NoEndpoint { .. }
            | NodeFileError::Endpoint { .. } => CniCode::INVALID_CONFIG,
        };
        Self::new(code, error.to_string())
    }
}

/// Reads the node file that the environment names, or the installer's, with the resolver's endpoints.
pub fn load(environment: &Environment) -> Result<(NodeFile, Vec<Endpoint>), NodeFileError> {
    let path = Path::new(environment.get("KNAP_CONFIG").unwrap_or(DEFAULT_PATH));
    let text = fs::read(path).map_err(|source| NodeFileError::Read { path: path.to_owned(), source })?;
    let file: NodeFile = serde_json::from_slice(&text)
        .map_err(|source| NodeFileError::Decode { path: path.to_owned(), source })?;
    let endpoints: Result<Vec<_>, _> =
        file.resolver.endpoints.iter().map(|text| Endpoint::parse(text)).collect();
    let endpoints = endpoints.map_err(|source| NodeFileError::Endpoint { path: path.to_owned(), source })?;
    if endpoints.is_empty() {
        return Err(NodeFileError::NoEndpoint { path: path.to_owned() });
    }
    Ok((file, endpoints))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn load_text(text: &str) -> Result<(NodeFile, Vec<Endpoint>), NodeFileError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.json");
        fs::write(&file, text).unwrap();
        load(&[("KNAP_CONFIG", file.as_os_str())].into_iter().collect())
    }

    #[test]
    fn the_environment_names_the_file() {
        let text = r#"{"node": "n1", "resolver": {"endpoints": ["http://127.0.0.1:1"], "tokenFile": "/t"}}"#;
        let (file, endpoints) = load_text(text).unwrap();
        assert_eq!((file.node.as_str(), endpoints.len()), ("n1", 1));
    }

    #[rstest]
    #[case::no_json("{", "decode")]
    #[case::no_resolver(r#"{"node": "n1"}"#, "resolver")]
    #[case::no_endpoint(r#"{"node": "n1", "resolver": {"endpoints": [], "tokenFile": "/t"}}"#, "endpoints")]
    #[case::no_url(r#"{"node": "n1", "resolver": {"endpoints": ["there"], "tokenFile": "/t"}}"#, "there")]
    fn a_bad_file_is_named_with_its_defect(#[case] text: &str, #[case] word: &str) {
        let error = load_text(text).unwrap_err().to_string();
        assert!(error.contains("node.json") && error.contains(word), "{error}");
    }

    #[test]
    fn a_missing_file_is_an_io_error() {
        let environment = [("KNAP_CONFIG", "/nonexistent/node.json")].into_iter().collect();
        let failure = Failure::from(load(&environment).unwrap_err());
        assert_eq!(failure.code, CniCode::IO);
        assert!(failure.message.contains("/nonexistent/node.json"), "{failure}");
    }
}
