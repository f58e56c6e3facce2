//! A node's credential: what its agent gets in exchange for the token that Kubernetes gave its pod.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The audience that a projected service-account token must have to be exchanged.
pub const AUDIENCE: &str = "knap-resolver";

/// Answer to `POST /v1/nodes/{node}/credentials`. The request has no body: its bearer token says who asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCredentials {
    /// The bearer token of every other call of this node. It outlives the agent's pod.
    pub token: String,
    /// How long it is good for, from now. Not a time: the node's clock may be wrong. Seconds.
    pub expires_in_seconds: u64,
}

/// No log shows the token.
impl fmt::Debug for NodeCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NodeCredentials")
            .field("expires_in_seconds", &self.expires_in_seconds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_log_shows_the_token() {
        let credentials = NodeCredentials { token: "secret".to_owned(), expires_in_seconds: 86_400 };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
