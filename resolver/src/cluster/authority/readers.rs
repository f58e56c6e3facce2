//! People and tools: whoever may `get` a path by the cluster's own rules (RBAC, nonResourceURLs) reads what is there. Answers of
//! the API server are kept for some seconds, as its own webhooks do.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::UserInfo;
use parking_lot::Mutex;
use ring::digest::{Context, SHA256};
use tokio::time::Instant;

use super::reviews::Reviews;
use crate::causes::with_causes;
use crate::cluster::node_tokens::looks_like_one;
use crate::http::Denied;
use crate::store::StoreError;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(10);
/// Answers that are kept at most.
const MOST: usize = 4096;

/// Why somebody may not read.
#[derive(Debug, Clone, thiserror::Error)]
enum ReaderError {
    #[error(
        "the request carries no token: send Authorization: Bearer with one of this cluster, of a user who may get {0} (RBAC: \
         nonResourceURLs)"
    )]
    NoToken(String),
    #[error(
        "a node's token opens that node's own paths alone: show a token of a user who may get {0} (RBAC: nonResourceURLs)"
    )]
    NodeToken(String),
    #[error("the API server does not take the token: {0}")]
    NotAuthenticated(String),
    #[error(
        "{user} may not get {path}{why}: bind a ClusterRole that has this path among its nonResourceURLs"
    )]
    NotAllowed { user: String, path: String, why: String },
}

impl From<ReaderError> for Denied {
    fn from(error: ReaderError) -> Self {
        let detail = error.to_string();
        match error {
            ReaderError::NoToken(_) => Self::unauthorized("no_token", detail),
            ReaderError::NodeToken(_) => Self::unauthorized("not_a_reader", detail),
            ReaderError::NotAuthenticated(_) => Self::unauthorized("not_authenticated", detail),
            ReaderError::NotAllowed { .. } => Self::forbidden("not_allowed", detail),
        }
    }
}

/// Who may read.
pub(super) struct Readers<R> {
    reviews: R,
    kept: Mutex<HashMap<Question, Answer>>,
}

/// A hash of token and path, so that no token is kept.
type Question = [u8; 32];
type Answer = (Instant, Result<(), ReaderError>);

impl<R: Reviews> Readers<R> {
    pub(super) fn new(reviews: R) -> Self {
        Self { reviews, kept: Mutex::default() }
    }

    /// Whether whoever shows this token may read what is at this path.
    pub(super) async fn admit(&self, token: &[u8], path: &str) -> Result<(), Denied> {
        if token.is_empty() {
            return Err(ReaderError::NoToken(path.to_owned()).into());
        }
        if looks_like_one(token) {
            return Err(ReaderError::NodeToken(path.to_owned()).into());
        }
        let question = question(token, path);
        let kept = self.kept.lock().get(&question).filter(|(until, _)| *until > Instant::now()).cloned();
        if let Some((_, answer)) = kept {
            return Ok(answer?);
        }
        let unknown = |error: StoreError| {
            let detail = format!("can't find out who may read {path}: {}", with_causes(&error));
            Denied::unavailable("unavailable", detail)
        };
        let answer = self.ask(token, path).await.map_err(unknown)?;
        self.keep(question, answer.clone());
        Ok(answer?)
    }

    async fn ask(&self, token: &[u8], path: &str) -> Result<Result<(), ReaderError>, StoreError> {
        let Ok(token) = std::str::from_utf8(token) else {
            return Ok(Err(ReaderError::NotAuthenticated("it is no text".to_owned())));
        };
        let review = self.reviews.whose(token, None).await?;
        let user = match review.user {
            Some(user) if review.authenticated == Some(true) => user,
            _ => {
                let why = review.error.filter(|error| !error.is_empty());
                let why = why.unwrap_or_else(|| "it is expired, or not one of this cluster's".to_owned());
                return Ok(Err(ReaderError::NotAuthenticated(why)));
            }
        };
        let name = name_of(&user);
        let access = self.reviews.may_get(user, path).await?;
        if access.allowed {
            return Ok(Ok(()));
        }
        let why = access.reason.filter(|reason| !reason.is_empty());
        let why = why.map(|reason| format!(" ({reason})")).unwrap_or_default();
        Ok(Err(ReaderError::NotAllowed { user: name, path: path.to_owned(), why }))
    }

    fn keep(&self, question: Question, answer: Result<(), ReaderError>) {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        if kept.len() >= MOST {
            kept.retain(|_, (until, _)| *until > now);
        }
        // Where somebody asks so much, the API server is asked again.
        if kept.len() < MOST {
            kept.insert(question, (now + KEPT, answer));
        }
    }
}

fn name_of(user: &UserInfo) -> String {
    user.username.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "this user".to_owned())
}

fn question(token: &[u8], path: &str) -> Question {
    let mut hash = Context::new(&SHA256);
    for part in [token, path.as_bytes()] {
        hash.update(&part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finish().as_ref().try_into().unwrap_or_default()
}
