//! What the Secret holds: the keys that sign nodes' tokens.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::jiff::Timestamp;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cluster::shared_secret::Document;

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    /// The oldest first.
    pub(super) keys: Vec<Key>,
}

impl Document for Keys {
    const ENTRY: &'static str = "keys.json";
    const ANEW: &'static str =
        "to begin with a new key (every node's token is void then, and its agent gets a new one)";
}

/// One that signs, will sign, or has signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    /// Which tokens name, and no other key has.
    pub(super) id: String,
    pub(super) made: Timestamp,
    pub(super) secret: KeySecret,
}

/// The system has no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(super) struct NoRandomness;

impl Key {
    /// A new one.
    pub(super) fn random(made: Timestamp) -> Result<Self, NoRandomness> {
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        let random = SystemRandom::new();
        random.fill(&mut id).map_err(|_| NoRandomness)?;
        random.fill(&mut secret).map_err(|_| NoRandomness)?;
        Ok(Self { id: format!("{:016x}", u64::from_be_bytes(id)), made, secret: KeySecret(secret) })
    }
}

/// 256 random bits, which no log shows. In JSON, base64.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeySecret([u8; 32]);

impl KeySecret {
    /// For signing and verifying by HMAC-SHA256 (RFC 2104).
    pub(super) fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeySecret")
    }
}

impl Serialize for KeySecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for KeySecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The error must not show what was there.
        let bytes = BASE64_STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a key is not 32 bytes in base64"))
    }
}
