//! What is kept: authorities, and the certificate that is served.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::terms::Terms;

/// All that the Secret holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Material {
    /// Those that nodes have to trust, the oldest first.
    pub(super) authorities: Vec<Authority>,
    /// What replicas show.
    pub(super) serving: Serving,
}

/// One that signs, will sign, or has signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Authority {
    /// Its common name, which no other has.
    pub(super) name: String,
    pub(super) term: Term,
    /// PEM.
    pub(super) certificate: String,
    /// Forgotten when a younger one signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<PrivateKey>,
}

/// What replicas show to nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Serving {
    /// The name of the authority that signed it.
    pub(super) authority: String,
    /// DNS names and IP addresses it is good for.
    pub(super) names: BTreeSet<String>,
    pub(super) term: Term,
    /// PEM.
    pub(super) certificate: String,
    pub(super) key: PrivateKey,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Term {
    pub(super) made: Timestamp,
    pub(super) expires: Timestamp,
}

impl Term {
    /// When its certificate begins: earlier than it was made, for clocks that are slow.
    pub(super) fn begins(&self, terms: &Terms) -> Timestamp {
        self.made - terms.backdated
    }

    /// What has not was made by a clock that is ahead of this one, by more than certificates are backdated.
    pub(super) fn has_begun(&self, terms: &Terms, now: Timestamp) -> bool {
        self.begins(terms) <= now
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires <= now
    }

    /// Less than a third is left.
    pub(super) fn runs_out(&self, now: Timestamp) -> bool {
        self.expires.duration_since(now) < self.expires.duration_since(self.made) / 3
    }
}

/// A key in PEM (PKCS #8), which no log shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct PrivateKey(String);

impl PrivateKey {
    pub(super) fn new(pem: String) -> Self {
        Self(pem)
    }

    pub(super) fn pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PrivateKey")
    }
}

impl Material {
    /// The certificates that nodes have to trust, in PEM.
    pub(super) fn bundle(&self) -> String {
        self.authorities.iter().map(|authority| authority.certificate.as_str()).collect()
    }
}
