//! Bodies of requests, while they are read and answered: bounded in time and in memory, in all and for each sender, so that who sends
//! much or slowly takes nothing from others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use knap_protocol::ProblemKind;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::auth::node_of;
use super::problem::Failure;

/// For room. More than a review has to be sent, so that those who only hold it up are gone by then.
const WAITING: Duration = Duration::from_secs(3);

/// What bodies may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of a body for which nobody waits. How many connections of one address there are is bounded.
    pub(super) free: usize,
    /// Bytes of all that are larger.
    pub(super) whole: usize,
    /// Bytes of those of one sender. None is larger.
    pub(super) share: usize,
    /// For all of a body.
    pub(super) sending: Duration,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// Too many others.
    #[error("too many large requests are under way; try again")]
    Busy,
    /// It did not come.
    #[error("the request's body was not sent within {} s; try again", .0.as_secs())]
    Slow(Duration),
    /// It is more than anybody has to send.
    #[error("the request's body has more than {0} bytes, which is the most that is taken here")]
    TooLarge(usize),
    /// The connection broke, say.
    #[error("can't read the request's body: {0}")]
    Unreadable(#[from] axum::Error),
}

impl BodyError {
    /// By which the caller knows what to do.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unreadable(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::Busy | BodyError::Slow(_) => ProblemKind::Unavailable,
            BodyError::TooLarge(_) | BodyError::Unreadable(_) => ProblemKind::BadRequest,
        };
        Self::new(kind, error.to_string()).with_status(error.status())
    }
}

/// The room of a body, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _permits: Option<[OwnedSemaphorePermit; 2]>,
}

/// All bodies of one sort. Who waits for room waits first for what the same sender sent before, and then for those who came before.
#[derive(Debug)]
pub(super) struct Bodies<K> {
    bounds: Bounds,
    whole: Arc<Semaphore>,
    /// Of those who send, or wait to.
    shares: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl<K: Eq + Hash> Bodies<K> {
    /// None yet.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, whole: Arc::new(Semaphore::new(bounds.whole)), shares: Mutex::default() }
    }

    /// A body of `most` bytes at most, and the room that it takes until its request is answered.
    pub(super) async fn read(
        &self,
        sender: K,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<(Bytes, Room), BodyError> {
        let announced = announced(headers);
        if announced.is_some_and(|length| length > most) {
            return Err(BodyError::TooLarge(most));
        }
        let room = timeout(WAITING, self.room(sender, announced.unwrap_or(most)));
        let room = room.await.map_err(|_| BodyError::Busy)??;
        let sending = self.bounds.sending;
        let body =
            timeout(sending, all(body, announced, most)).await.map_err(|_| BodyError::Slow(sending))?;
        Ok((body?, room))
    }

    async fn room(&self, sender: K, length: usize) -> Result<Room, BodyError> {
        if length <= self.bounds.free {
            return Ok(Room { _permits: None });
        }
        let permits = u32::try_from(length).map_err(|_| BodyError::TooLarge(self.bounds.share))?;
        // Nobody closes them.
        let share = self.share_of(sender).acquire_many_owned(permits).await.map_err(|_| BodyError::Busy)?;
        let of_all =
            Arc::clone(&self.whole).acquire_many_owned(permits).await.map_err(|_| BodyError::Busy)?;
        Ok(Room { _permits: Some([share, of_all]) })
    }

    fn share_of(&self, sender: K) -> Arc<Semaphore> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(&sender).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.bounds.share));
        shares.insert(sender, Arc::downgrade(&share));
        share
    }
}

/// The length that the head tells, and then no more comes.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Copied together: what a frame is a part of may be much larger than the frame.
async fn all(body: Body, announced: Option<usize>, most: usize) -> Result<Bytes, BodyError> {
    let mut frames = body.into_data_stream();
    // What is not written to takes no memory yet.
    let mut bytes = Vec::with_capacity(announced.unwrap_or(most));
    while let Some(frame) = frames.try_next().await? {
        if frame.len() > announced.unwrap_or(most) - bytes.len() {
            return Err(BodyError::TooLarge(most));
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes.into())
}

/// Reads the body of a node's request before its path has it; it has its room until the answer is there.
pub(super) async fn of_node(
    State((bodies, most)): State<(Arc<Bodies<String>>, usize)>,
    parameters: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let node = node_of(&parameters).to_owned();
    match bodies.read(node, &head.headers, body, most).await {
        Ok((bytes, _room)) => next.run(Request::from_parts(head, bytes.into())).await,
        Err(error) => Failure::from(error).into_response(),
    }
}

#[cfg(test)]
mod tests;
