//! Who decides who may call. On a single host that is a file; in a cluster, its Kubernetes API.

use futures::future::BoxFuture;
use knap_protocol::{NodeCredentials, ProblemKind};

/// Decides who may call. Tokens come as they were sent, empty where none was.
pub trait Authority: Send + Sync {
    /// Whether whoever shows this token is this node, as a path names it.
    fn admit_node<'a>(&'a self, token: &'a [u8], node: &'a str) -> BoxFuture<'a, Result<(), Denied>>;

    /// Whether whoever shows this token may read what is at a path of the API.
    fn admit_reader<'a>(&'a self, token: &'a [u8], path: &'a str) -> BoxFuture<'a, Result<(), Denied>>;

    /// What a node's agent gets for the token that it was given by the cluster.
    fn exchange<'a>(
        &'a self,
        token: &'a [u8],
        node: &'a str,
    ) -> BoxFuture<'a, Result<NodeCredentials, Denied>>;
}

/// Why somebody may not call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What the caller hears: not authenticated, not authorized, or to try again.
    pub kind: ProblemKind,
    /// In a word, for metrics.
    pub reason: &'static str,
    /// What is wrong with the credential, and what to do.
    pub detail: String,
}

impl Denied {
    /// Nobody knows who calls (401).
    pub fn unauthorized(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: ProblemKind::Unauthorized, reason, detail: detail.into() }
    }

    /// It is known who calls, and that is not enough (403).
    pub fn forbidden(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: ProblemKind::Forbidden, reason, detail: detail.into() }
    }

    /// It can't be found out now (503).
    pub fn unavailable(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: ProblemKind::Unavailable, reason, detail: detail.into() }
    }
}
