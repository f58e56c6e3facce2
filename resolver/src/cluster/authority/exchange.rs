//! The exchange of an agent's service-account token for a token of its node. What counts is where the agent's pod runs, by
//! the word of the API server: a node can get no token but its own.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::jiff::Timestamp;
use knap_api::NODE_TOKENS_NOT_BEFORE_ANNOTATION;
use knap_protocol::{AUDIENCE, NodeCredentials, NodeName};

use super::agent::AgentAccount;
use super::nodes::{Nodes, check, token_denied};
use super::reviews::Reviews;
use crate::causes::with_causes;
use crate::cluster::node_tokens::{Claims, Keyring, TokenError, looks_like_one};
use crate::http::Denied;
use crate::identity::BoundPod;
use crate::store::{ObjectName, Store, StoreError};

/// By which the API server tells the pod that a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Why there is no node token for what was shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error(
        "the request carries no token: send Authorization: Bearer with the service-account token, for audience {AUDIENCE}, \
         that is projected into the pod of the node's agent"
    )]
    NoToken,
    #[error(
        "a node token is not exchanged for another: show the service-account token, for audience {AUDIENCE}, that is \
         projected into the pod of the node's agent"
    )]
    NodeToken,
    #[error("the API server does not take the token for audience {AUDIENCE}: {0}")]
    NotAuthenticated(String),
    #[error(
        "the API server does not say that the token is for audience {AUDIENCE}: it must know bound tokens"
    )]
    NoAudience,
    #[error(
        "the token is that of {username}, and nodes' agents run as service account {agent}: see --agent-service-account"
    )]
    NotTheAgent { username: String, agent: AgentAccount },
    #[error(
        "the token of {username} is not bound to a pod: have it projected into the pod of the node's agent"
    )]
    NotBound { username: String },
    #[error("the token is bound to pod {pod} with UID {uid}, and that pod is gone")]
    PodGone { pod: ObjectName, uid: String },
    #[error("the token is bound to pod {pod}, which runs on {}, and the request is about {node}: an agent asks for its own node alone",
        bound.as_deref().unwrap_or("no node yet"))]
    Elsewhere { pod: ObjectName, bound: Option<String>, node: String },
    #[error("there is no Node {0}: a node registers itself before its agent runs there")]
    NoNode(String),
    #[error("{0} is no name of a node")]
    NotANode(String),
    #[error(
        "node {node} gets no token, since its annotation {NODE_TOKENS_NOT_BEFORE_ANNOTATION}={not_before:?} makes void whatever \
         is issued now: correct it, or remove it"
    )]
    Revoked { node: String, not_before: String },
    #[error("can't find out whose the token is: {}", with_causes(.0))]
    Unknown(#[from] StoreError),
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl From<ExchangeError> for Denied {
    fn from(error: ExchangeError) -> Self {
        let detail = error.to_string();
        match error {
            ExchangeError::NoToken => Self::unauthorized("no_token", detail),
            ExchangeError::NodeToken => Self::unauthorized("not_a_service_account", detail),
            ExchangeError::NotAuthenticated(_) | ExchangeError::NoAudience => {
                Self::unauthorized("not_authenticated", detail)
            }
            ExchangeError::NotTheAgent { .. } => Self::forbidden("not_the_agent", detail),
            ExchangeError::NotBound { .. } => Self::forbidden("not_bound_to_a_pod", detail),
            ExchangeError::PodGone { .. } => Self::forbidden("pod_gone", detail),
            ExchangeError::Elsewhere { .. } => Self::forbidden("other_node", detail),
            ExchangeError::NoNode(_) | ExchangeError::NotANode(_) => Self::forbidden("no_node", detail),
            ExchangeError::Revoked { .. } => Self::forbidden("revoked", detail),
            ExchangeError::Unknown(_) => Self::unavailable("unavailable", detail),
            ExchangeError::Token(error) => token_denied(&error, detail),
        }
    }
}

/// Exchanges tokens.
pub(super) struct Exchange<S, R> {
    store: S,
    reviews: R,
    nodes: Arc<Nodes<S>>,
    keyring: Arc<Keyring>,
    agent: AgentAccount,
}

impl<S: Store, R: Reviews> Exchange<S, R> {
    pub(super) const fn new(
        store: S,
        reviews: R,
        nodes: Arc<Nodes<S>>,
        keyring: Arc<Keyring>,
        agent: AgentAccount,
    ) -> Self {
        Self { store, reviews, nodes, keyring, agent }
    }

    /// A token for the node that the agent's pod runs on, which must be the one that is asked for.
    pub(super) async fn exchange(&self, token: &[u8], node: &str) -> Result<NodeCredentials, ExchangeError> {
        let user = self.user(token).await?;
        let (pod, uid) = self.agents_pod(&user)?;
        self.require_bound(pod, uid, node).await?;
        let name: NodeName = node.parse().map_err(|_| ExchangeError::NotANode(node.to_owned()))?;
        let known = self.nodes.read(node).await?.ok_or_else(|| ExchangeError::NoNode(node.to_owned()))?;
        let now = Timestamp::now();
        let made =
            Claims { node: node.to_owned(), uid: known.uid.clone(), issued: now, expires: Timestamp::MAX };
        if check(&made, &known).is_err() {
            let not_before = known.tokens_not_before.unwrap_or_default();
            return Err(ExchangeError::Revoked { node: node.to_owned(), not_before });
        }
        Ok(self.keyring.sign(&name, &known.uid, now)?)
    }

    /// Whose the token is.
    async fn user(&self, token: &[u8]) -> Result<UserInfo, ExchangeError> {
        if token.is_empty() {
            return Err(ExchangeError::NoToken);
        }
        if looks_like_one(token) {
            return Err(ExchangeError::NodeToken);
        }
        let token = std::str::from_utf8(token)
            .map_err(|_| ExchangeError::NotAuthenticated("it is no text".to_owned()))?;
        let review = self.reviews.whose(token, Some(AUDIENCE)).await?;
        if review.authenticated != Some(true) {
            let why = review.error.filter(|error| !error.is_empty());
            let why = why
                .unwrap_or_else(|| "it is expired, for another audience, or not of this cluster".to_owned());
            return Err(ExchangeError::NotAuthenticated(why));
        }
        // An API server that does not know audiences authenticates a token for any of them.
        if !review.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE) {
            return Err(ExchangeError::NoAudience);
        }
        Ok(review.user.unwrap_or_default())
    }

    /// Name and UID of the agent's pod that the token is bound to.
    fn agents_pod<'a>(&self, user: &'a UserInfo) -> Result<(ObjectName, &'a str), ExchangeError> {
        let username = user.username.clone().unwrap_or_default();
        if username != self.agent.username() {
            return Err(ExchangeError::NotTheAgent { username, agent: self.agent.clone() });
        }
        let extra = |key: &str| {
            let values = user.extra.as_ref()?.get(key)?;
            values.first().map(String::as_str).filter(|value| !value.is_empty())
        };
        match (extra(POD_NAME), extra(POD_UID)) {
            (Some(name), Some(uid)) => Ok((ObjectName::namespaced(self.agent.namespace(), name), uid)),
            _ => Err(ExchangeError::NotBound { username }),
        }
    }

    async fn require_bound(&self, pod: ObjectName, uid: &str, node: &str) -> Result<(), ExchangeError> {
        let read = self.store.get::<BoundPod>(&pod).await?;
        let same = read.filter(|read| read.metadata.uid.as_deref() == Some(uid));
        let Some(found) = same else { return Err(ExchangeError::PodGone { pod, uid: uid.to_owned() }) };
        if found.node() != Some(node) {
            let bound = found.node().map(str::to_owned);
            return Err(ExchangeError::Elsewhere { pod, bound, node: node.to_owned() });
        }
        Ok(())
    }
}
