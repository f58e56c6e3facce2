//! Nodes: a token is good if a key of this cluster signed it, if it has not expired, if the Node is still the one that it was
//! made for, and if it was not revoked. All of that is known here; only before somebody is refused for what the view says
//! of a Node, that Node is read.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use knap_api::NODE_TOKENS_NOT_BEFORE_ANNOTATION;

use crate::causes::with_causes;
use crate::cluster::node_tokens::{Claims, Keyring, TokenError};
use crate::http::Denied;
use crate::store::{ObjectName, Store, StoreError};
use crate::view::{KnownNode, View};

/// What the node's agent does by itself; where it does not, its log says why.
const REMEDY: &str = "the node's agent gets a new one by POST to the node's credentials; see its log";

/// Why a token does not make its bearer a node.
#[derive(Debug, thiserror::Error)]
pub(super) enum NodeError {
    #[error(
        "the request carries no token: send Authorization: Bearer with the node token of {0}, which {REMEDY}"
    )]
    NoToken(String),
    #[error("{0}; {REMEDY}")]
    Token(TokenError),
    #[error(
        "the node token shown is that of {of}, and the request is about {about}: a node asks for itself alone"
    )]
    OtherNode { of: String, about: String },
    #[error("the node token shown is void, since there is no Node {0} (any more)")]
    Gone(String),
    #[error(
        "the node token shown is void, since Node {0} was deleted and made anew after it was issued; {REMEDY}"
    )]
    Anew(String),
    #[error(
        "the node token shown is revoked: it was issued at {issued}, and Node {node} has the annotation \
         {NODE_TOKENS_NOT_BEFORE_ANNOTATION}={not_before}; {REMEDY}"
    )]
    Revoked { node: String, issued: Timestamp, not_before: String },
    #[error(
        "all tokens of Node {node} are revoked, since its annotation {NODE_TOKENS_NOT_BEFORE_ANNOTATION}={not_before:?} is \
         no time: write one as in 2026-01-31T12:00:00Z, or remove the annotation"
    )]
    UnreadableRevocation { node: String, not_before: String },
    #[error("can't find out whether the node token shown is still good: {}", with_causes(.0))]
    Unknown(#[from] StoreError),
}

impl From<NodeError> for Denied {
    fn from(error: NodeError) -> Self {
        let detail = error.to_string();
        match error {
            NodeError::NoToken(_) => Self::unauthorized("no_token", detail),
            NodeError::Token(error) => token_denied(&error, detail),
            NodeError::OtherNode { .. } => Self::forbidden("other_node", detail),
            NodeError::Gone(_) => Self::unauthorized("node_gone", detail),
            NodeError::Anew(_) | NodeError::Revoked { .. } | NodeError::UnreadableRevocation { .. } => {
                Self::unauthorized("revoked", detail)
            }
            NodeError::Unknown(_) => Self::unavailable("unavailable", detail),
        }
    }
}

pub(super) fn token_denied(error: &TokenError, detail: String) -> Denied {
    match error {
        TokenError::NotOne => Denied::unauthorized("not_a_node_token", detail),
        TokenError::UnknownKey => Denied::unauthorized("unknown_key", detail),
        TokenError::Forged => Denied::unauthorized("forged", detail),
        TokenError::Expired { .. } => Denied::unauthorized("expired", detail),
        TokenError::IssuedLater { .. } => Denied::unauthorized("issued_later", detail),
        TokenError::NoKeys(_) | TokenError::Unsure(_) | TokenError::Unwritable(_) => {
            Denied::unavailable("unavailable", detail)
        }
    }
}

/// Nodes and their tokens.
pub(super) struct Nodes<S> {
    store: S,
    view: Arc<View>,
    keyring: Arc<Keyring>,
}

impl<S: Store> Nodes<S> {
    pub(super) const fn new(store: S, view: Arc<View>, keyring: Arc<Keyring>) -> Self {
        Self { store, view, keyring }
    }

    /// Whether this is a good token of this node.
    pub(super) async fn admit(&self, token: &[u8], node: &str) -> Result<(), NodeError> {
        if token.is_empty() {
            return Err(NodeError::NoToken(node.to_owned()));
        }
        let claims = self.keyring.verify(token, Timestamp::now()).await.map_err(NodeError::Token)?;
        // First whether it is good, so that a void one does not tell whose it was.
        let known = self.view.node(&claims.node);
        if known.is_none_or(|known| check(&claims, &known).is_err()) {
            let read = self.read(&claims.node).await?;
            check(&claims, &read.ok_or_else(|| NodeError::Gone(claims.node.clone()))?)?;
        }
        if claims.node != node {
            return Err(NodeError::OtherNode { of: claims.node, about: node.to_owned() });
        }
        Ok(())
    }

    /// A Node as it is now.
    pub(super) async fn read(&self, node: &str) -> Result<Option<KnownNode>, StoreError> {
        let read = self.store.get::<Node>(&ObjectName::cluster(node)).await?;
        Ok(read.map(KnownNode::of))
    }
}

/// Whether a token is still good for the Node that there is.
pub(super) fn check(claims: &Claims, node: &KnownNode) -> Result<(), NodeError> {
    if claims.uid != node.uid {
        return Err(NodeError::Anew(claims.node.clone()));
    }
    let Some(not_before) = &node.tokens_not_before else { return Ok(()) };
    // Somebody meant to revoke: a mistake in it must not leave the tokens good.
    let Ok(time) = not_before.trim().parse::<Timestamp>() else {
        let (node, not_before) = (claims.node.clone(), not_before.clone());
        return Err(NodeError::UnreadableRevocation { node, not_before });
    };
    // As people write a time, it has no fraction: all of its second is meant.
    let issued_before = if time.subsec_nanosecond() == 0 {
        claims.issued.as_second() <= time.as_second()
    } else {
        claims.issued < time
    };
    if issued_before {
        let (node, not_before) = (claims.node.clone(), not_before.clone());
        return Err(NodeError::Revoked { node, issued: claims.issued, not_before });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_node_until_it_is_revoked() {
        let at = |millisecond| Timestamp::from_millisecond(millisecond).unwrap();
        let claims = Claims {
            node: "n1".to_owned(),
            uid: "u1".to_owned(),
            issued: at(1_000_500),
            expires: at(2_000_000),
        };
        let node = |uid: &str, not_before: Option<&str>| KnownNode {
            uid: uid.to_owned(),
            tokens_not_before: not_before.map(str::to_owned),
            ..KnownNode::default()
        };
        for good in [None, Some("1970-01-01T00:16:40.5Z"), Some("1970-01-01T01:16:39+01:00")] {
            check(&claims, &node("u1", good)).unwrap();
        }
        let refused = |node: KnownNode| check(&claims, &node).unwrap_err().to_string();
        assert!(refused(node("u2", None)).contains("made anew"));
        for later in ["1970-01-01T00:16:40.6Z", "1970-01-01T00:16:40Z", "1970-01-01T00:16:41Z"] {
            let revoked = refused(node("u1", Some(later)));
            let told = ["issued at 1970-01-01T00:16:40.5Z", "Node n1", later];
            assert!(told.iter().all(|told| revoked.contains(told)), "{revoked}");
        }
        for nonsense in ["", "yesterday", "1970-01-01"] {
            assert!(refused(node("u1", Some(nonsense))).contains("is no time"), "{nonsense}");
        }
    }
}
