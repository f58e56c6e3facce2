//! Why the service did not start, or ended.

use std::io;
use std::net::SocketAddr;

use tracing_subscriber::filter::ParseError;

use crate::cluster::connect::ConfigError;
use crate::http::TokenFileError;
use crate::manifests::FolderError;
use crate::store::embedded::OpenError;
use crate::store::kubernetes::ConnectError;

/// Why the service did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What to log is not understood.
    #[error("--log {filter:?} is neither a level (error, warn, info, debug, trace) nor a list of directives")]
    Log {
        /// As given.
        filter: String,
        /// What is wrong in it.
        #[source]
        source: ParseError,
    },
    /// No threads to run on.
    #[error("can't start the threads of the service")]
    Threads(#[source] io::Error),
    /// The state file.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The token file.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// The folder of manifests.
    #[error(transparent)]
    Manifests(#[from] FolderError),
    /// How to reach the API server is not known.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What the kubeconfig says can't be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No TLS.
    #[error("can't prepare the service's certificate")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address.
    #[error("can't listen on {address}: choose another port, or end what listens there")]
    Listen {
        /// As given.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// SIGTERM could not be waited for.
    #[error("can't wait for signals")]
    Signals(#[source] io::Error),
    /// The connections failed.
    #[error("can't go on serving")]
    Serve(#[source] io::Error),
    /// A part of the service ended by itself.
    #[error("the service's {0} ended unexpectedly; see the log above")]
    Ended(&'static str),
}
