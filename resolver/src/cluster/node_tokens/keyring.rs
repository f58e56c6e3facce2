//! The keys as this replica knows them, and what is done with them: nodes' tokens are signed and verified.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use k8s_openapi::jiff::Timestamp;
use knap_protocol::{NodeCredentials, NodeName};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::keys::Keys;
use super::rotate::signer;
use super::terms::Terms;
use super::token::{Claims, Shown, signed};

/// How long a token of an unknown key waits for a look at the Secret.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much later than now a token may have been issued: as much as clocks of replicas may differ. Who revokes a node's
/// tokens with a time of now reaches those that such a clock issues a little later.
const SKEW: Duration = Duration::from_secs(300);

/// Why a token can't be made or taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// Something else was shown.
    #[error("the token shown is not one that Knap makes for nodes")]
    NotOne,
    /// By no key that there is: all of them were made anew, or it was never signed by one.
    #[error("the node token shown was signed by a key that is not in use (any more)")]
    UnknownKey,
    /// Not what that key signed.
    #[error("the node token shown is forged or damaged: its signature is not that of its key")]
    Forged,
    /// It was good.
    #[error("the node token of {node} has expired at {since}")]
    Expired {
        /// The node it was for.
        node: String,
        /// When.
        since: Timestamp,
    },
    /// By a clock that is ahead of this one. Whoever revokes would not reach it, and it would live too long.
    #[error(
        "the node token of {node} was issued at {issued}, and here it is {now}: the clock of this resolver is behind, or that of \
         the one that issued it was ahead"
    )]
    IssuedLater {
        /// The node it is for.
        node: String,
        /// When.
        issued: Timestamp,
        /// By this clock.
        now: Timestamp,
    },
    /// The Secret has not been read.
    #[error("the keys of nodes' tokens have not been read yet from Secret {0}")]
    NoKeys(String),
    /// The Secret can't be read now, and the key may be there.
    #[error(
        "the node token shown was signed by a key that is not known here, and Secret {0} can't be read at the moment"
    )]
    Unsure(String),
    /// A defect of ours.
    #[error("the token can't be written: {0}")]
    Unwritable(String),
}

/// A look at the Secret that has ended.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    /// Looks are counted from 1.
    number: u64,
    well: bool,
}

/// What signs and verifies. One for the whole process.
#[derive(Debug)]
pub(crate) struct Keyring {
    terms: Terms,
    /// For messages.
    secret: String,
    keys: ArcSwapOption<Keys>,
    begun: AtomicU64,
    ended: watch::Sender<Look>,
    wanted: Notify,
}

impl Keyring {
    pub(super) fn new(secret: String, terms: Terms) -> Self {
        Self {
            terms,
            secret,
            keys: ArcSwapOption::empty(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(Look::default()),
            wanted: Notify::new(),
        }
    }

    /// From now on these are the keys.
    pub(super) fn replace(&self, keys: Keys) {
        self.keys.store(Some(keys.into()));
    }

    /// A look at the Secret begins.
    pub(super) fn look_begins(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// And has ended.
    pub(super) fn look_ended(&self, number: u64, well: bool) {
        self.ended.send_replace(Look { number, well });
    }

    /// Ends when somebody wants the Secret to be looked at.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// A token for a node.
    pub(crate) fn sign(
        &self,
        node: &NodeName,
        uid: &str,
        now: Timestamp,
    ) -> Result<NodeCredentials, TokenError> {
        let keys = self.keys.load_full().ok_or_else(|| self.no_keys())?;
        let key = signer(&keys, &self.terms, now).ok_or_else(|| self.no_keys())?;
        let lifetime = self.terms.token;
        let expires = now.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
        let claims = Claims { node: node.to_string(), uid: uid.to_owned(), issued: now, expires };
        let token = signed(&claims, key).map_err(|error| TokenError::Unwritable(error.to_string()))?;
        Ok(NodeCredentials { token, expires_in_seconds: lifetime.as_secs() })
    }

    /// What a token says, if it is good. One of an unknown key may have been signed by a replica that knows more: the
    /// Secret is looked at before it is refused.
    pub(crate) async fn verify(&self, token: &[u8], now: Timestamp) -> Result<Claims, TokenError> {
        let shown = Shown::parse(token).ok_or(TokenError::NotOne)?;
        let mut verified = self.verify_now(&shown);
        if matches!(verified, Err(TokenError::UnknownKey | TokenError::NoKeys(_))) && self.look_again().await
        {
            verified = self.verify_now(&shown);
        } else if verified == Err(TokenError::UnknownKey) {
            return Err(TokenError::Unsure(self.secret.clone()));
        }
        let claims = verified?;
        if claims.is_over(now) {
            return Err(TokenError::Expired { node: claims.node, since: claims.expires });
        }
        if claims.issued > now + SKEW {
            return Err(TokenError::IssuedLater { node: claims.node, issued: claims.issued, now });
        }
        Ok(claims)
    }

    fn verify_now(&self, shown: &Shown<'_>) -> Result<Claims, TokenError> {
        let keys = self.keys.load_full().ok_or_else(|| self.no_keys())?;
        let key = keys.keys.iter().find(|key| key.id == shown.key).ok_or(TokenError::UnknownKey)?;
        shown.verified(key).ok_or(TokenError::Forged)
    }

    /// Waits for a look at the Secret that begins after this. Whether it went well.
    async fn look_again(&self) -> bool {
        let mut ended = self.ended.subscribe();
        let next = self.begun.load(Ordering::SeqCst) + 1;
        self.wanted.notify_one();
        let looked = timeout(PATIENCE, ended.wait_for(|look| look.number >= next)).await;
        // The sender lives as long as `self`.
        looked.is_ok_and(|look| look.is_ok_and(|look| look.well))
    }

    fn no_keys(&self) -> TokenError {
        TokenError::NoKeys(self.secret.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::keys::Key;
    use super::*;

    const SECRET: &str = "knap-system/knap-node-tokens";

    fn keyring(keys: Vec<Key>) -> Arc<Keyring> {
        let keyring = Keyring::new(SECRET.to_owned(), Terms::default());
        if !keys.is_empty() {
            keyring.replace(Keys { keys });
        }
        Arc::new(keyring)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key() -> Key {
        Key::random(Timestamp::UNIX_EPOCH).unwrap()
    }

    /// Looks whenever it is wanted, and learns these keys.
    fn looks(keyring: &Arc<Keyring>, keys: Option<Vec<Key>>) -> tokio::task::JoinHandle<()> {
        let keyring = Arc::clone(keyring);
        tokio::spawn(async move {
            loop {
                keyring.wanted().await;
                let number = keyring.look_begins();
                if let Some(keys) = keys.clone() {
                    keyring.replace(Keys { keys });
                }
                keyring.look_ended(number, keys.is_some());
            }
        })
    }

    #[tokio::test]
    async fn a_token_is_good_until_it_expires() {
        let keyring = keyring(vec![key()]);
        let node: NodeName = "n1".parse().unwrap();
        let NodeCredentials { token, expires_in_seconds } = keyring.sign(&node, "u1", at(1_000)).unwrap();
        assert_eq!(expires_in_seconds, 86_400);
        let claims = keyring.verify(token.as_bytes(), at(87_399)).await.unwrap();
        assert_eq!((claims.node.as_str(), claims.uid.as_str(), claims.issued), ("n1", "u1", at(1_000)));
        let expired = keyring.verify(token.as_bytes(), at(87_400)).await.unwrap_err();
        assert_eq!(expired, TokenError::Expired { node: "n1".to_owned(), since: at(87_400) });
        assert_eq!(keyring.verify(b"something", at(1)).await, Err(TokenError::NotOne));
        let forged = token.replacen(".ey", ".fy", 1);
        assert_eq!(keyring.verify(forged.as_bytes(), at(1_001)).await, Err(TokenError::Forged));
    }

    #[tokio::test]
    async fn what_a_clock_issued_that_is_ahead_is_not_taken() {
        let keyring = keyring(vec![key()]);
        let token = keyring.sign(&"n1".parse().unwrap(), "u1", at(1_000)).unwrap().token;
        keyring.verify(token.as_bytes(), at(700)).await.unwrap();
        let early = keyring.verify(token.as_bytes(), at(699)).await.unwrap_err();
        let expected = TokenError::IssuedLater { node: "n1".to_owned(), issued: at(1_000), now: at(699) };
        assert!(early == expected && early.to_string().contains("the clock of this resolver"), "{early}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_another_replica_made_is_looked_for() {
        let (old, new) = (key(), key());
        let (here, there) = (keyring(vec![old.clone()]), keyring(vec![new.clone()]));
        let token = there.sign(&"n1".parse().unwrap(), "u1", at(1_000)).unwrap().token;
        let unsure = here.verify(token.as_bytes(), at(1_001)).await.unwrap_err();
        assert_eq!(unsure, TokenError::Unsure(SECRET.to_owned()), "nobody looks");
        let failing = looks(&here, None);
        assert_eq!(here.verify(token.as_bytes(), at(1_001)).await, Err(unsure), "the look fails");
        failing.abort();
        let _ = failing.await;
        let unchanged = looks(&here, Some(vec![old.clone()]));
        assert_eq!(here.verify(token.as_bytes(), at(1_001)).await, Err(TokenError::UnknownKey));
        unchanged.abort();
        let _ = unchanged.await;
        let _changed = looks(&here, Some(vec![old, new]));
        here.verify(token.as_bytes(), at(1_001)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_keys_nothing_is_signed_or_refused() {
        let without = keyring(Vec::new());
        let none = Err(TokenError::NoKeys(SECRET.to_owned()));
        assert_eq!(without.sign(&"n1".parse().unwrap(), "u1", at(1)), none.clone());
        let token = keyring(vec![key()]).sign(&"n1".parse().unwrap(), "u1", at(1)).unwrap().token;
        assert_eq!(
            without.verify(token.as_bytes(), at(2)).await.map(|_| ()),
            none.map(|_: NodeCredentials| ())
        );
    }
}
