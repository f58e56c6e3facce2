//! Turns for what anybody may ask without a credential: so much at a time, and for so long, that nothing is taken from those who
//! have one. A review is small and comes at once; whoever sends slowly, or much, or what takes long to decide, waits for others
//! of that sort alone.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::admission::Subject;

/// Bytes of a small body. Nearly all reviews have one.
const SMALL: u64 = 128 << 10;
/// Small ones at a time: 8 MB of them.
const SMALL_AT_ONCE: usize = 64;
/// Others at a time: what is read of one may take many times its size.
const LARGE_AT_ONCE: usize = 1;
/// For all of a body: the API server sends it at once.
const SENDING: Duration = Duration::from_secs(2);
/// For a turn. More than for a body, so that those who only hold a turn up are gone by then.
const WAITING: Duration = Duration::from_secs(3);

/// Why a request gets no turn, or loses it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnError {
    /// Too many others.
    #[error("too many reviews are under way; try again")]
    Busy,
    /// The body did not come.
    #[error("the review was not sent within {} s", SENDING.as_secs())]
    Slow,
    /// It can't be read.
    #[error("can't read the review: {0}")]
    Unreadable(#[from] BytesRejection),
}

/// All turns that there are.
#[derive(Debug)]
pub(super) struct Turns {
    small: Semaphore,
    large: Semaphore,
    /// For Networks, each of which is held against all others: one core's work at most.
    networks: Semaphore,
    /// For classes, each of which is held against every Network that it serves.
    classes: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            small: Semaphore::new(SMALL_AT_ONCE),
            large: Semaphore::new(LARGE_AT_ONCE),
            networks: Semaphore::new(1),
            classes: Semaphore::new(1),
        }
    }
}

impl Turns {
    /// The body of a request, and the turn that it takes until its answer is there.
    pub(super) async fn body(&self, request: Request) -> Result<(Bytes, SemaphorePermit<'_>), TurnError> {
        let turn = turn(if is_small(&request) { &self.small } else { &self.large }).await?;
        let body = timeout(SENDING, Bytes::from_request(request, &())).await.map_err(|_| TurnError::Slow)?;
        Ok((body?, turn))
    }

    /// The turn that a decision takes beside, where it is one that takes long.
    pub(super) async fn decision(&self, subject: Subject) -> Result<Option<SemaphorePermit<'_>>, TurnError> {
        match subject {
            Subject::Network => Ok(Some(turn(&self.networks).await?)),
            Subject::NetworkClass => Ok(Some(turn(&self.classes).await?)),
            Subject::Pod | Subject::Launcher | Subject::Attachment => Ok(None),
        }
    }
}

async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, TurnError> {
    match timeout(WAITING, turns.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        // Nobody closes it.
        _ => Err(TurnError::Busy),
    }
}

/// By what its head says, and then no more comes. Where it does not say it may be large.
fn is_small(request: &Request) -> bool {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length <= SMALL)
}
