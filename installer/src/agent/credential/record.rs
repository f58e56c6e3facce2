//! What is remembered of the node's token, and what follows from it. Pure.

use std::time::Duration;

use knap_protocol::{BootId, NodeCredentials, NodeName};
use serde::{Deserialize, Serialize};

/// Beside the token's file, and kept over restarts of the agent. No time of the wall's clock is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenRecord {
    /// Whose token it is.
    node: NodeName,
    /// The boot in which it came.
    #[serde(rename = "bootID")]
    boot_id: BootId,
    /// When it was asked for. Seconds since that boot began.
    obtained_at_seconds: u64,
    /// How long it is good for from then on. Seconds.
    lifetime_seconds: u64,
    /// When it is to be renewed, from then on. Seconds.
    renew_after_seconds: u64,
}

/// What a token is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Nothing to do.
    Good,
    /// It serves, and it is time for another; or its age is not known.
    Due,
    /// It serves no more.
    Expired,
}

impl TokenRecord {
    /// Of a token that was asked for at `asked`, since this boot began. It is renewed at about half its life.
    pub(crate) fn new(
        node: &NodeName,
        boot_id: &BootId,
        asked: Duration,
        credentials: &NodeCredentials,
        around: impl Fn(Duration) -> Duration,
    ) -> Self {
        let half = Duration::from_secs(credentials.expires_in_seconds / 2);
        Self {
            node: node.clone(),
            boot_id: boot_id.clone(),
            obtained_at_seconds: asked.as_secs(),
            lifetime_seconds: credentials.expires_in_seconds,
            renew_after_seconds: around(half).as_secs(),
        }
    }

    /// What the token is worth for a node in a boot, so long after that began.
    pub(crate) fn worth(&self, node: &NodeName, boot_id: &BootId, now: Duration) -> Worth {
        if self.node != *node {
            return Worth::Expired;
        }
        let age = now.as_secs().checked_sub(self.obtained_at_seconds);
        match age.filter(|_| self.boot_id == *boot_id) {
            None => Worth::Due,
            Some(age) if age >= self.lifetime_seconds => Worth::Expired,
            Some(age) if age >= self.renew_after_seconds => Worth::Due,
            Some(_) => Worth::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn record() -> TokenRecord {
        let credentials = NodeCredentials { token: "t".to_owned(), expires_in_seconds: 24 * 3600 };
        TokenRecord::new(&"n1".parse().unwrap(), &"b1".parse().unwrap(), HOUR, &credentials, |half| half)
    }

    fn worth(node: &str, boot_id: &str, now: Duration) -> Worth {
        record().worth(&node.parse().unwrap(), &boot_id.parse().unwrap(), now)
    }

    #[test]
    fn it_is_renewed_at_half_its_life() {
        assert_eq!(worth("n1", "b1", HOUR), Worth::Good);
        assert_eq!(worth("n1", "b1", 12 * HOUR), Worth::Good);
        assert_eq!(worth("n1", "b1", 13 * HOUR), Worth::Due);
        assert_eq!(worth("n1", "b1", 24 * HOUR), Worth::Due);
        assert_eq!(worth("n1", "b1", 25 * HOUR), Worth::Expired);
    }

    #[test]
    fn of_what_is_not_known_the_safe_side_is_taken() {
        assert_eq!(worth("n1", "b2", 2 * HOUR), Worth::Due, "asked for in another boot");
        assert_eq!(worth("n1", "b1", HOUR / 2), Worth::Due, "a clock that went back");
        assert_eq!(worth("n2", "b1", 2 * HOUR), Worth::Expired, "another node's");
    }

    #[test]
    fn it_survives_its_file_without_the_token() {
        let text = serde_json::to_string(&record()).unwrap();
        assert_eq!(serde_json::from_str::<TokenRecord>(&text).unwrap(), record());
        assert!(text.contains("\"bootID\":\"b1\"") && !text.contains("token"), "{text}");
    }
}
