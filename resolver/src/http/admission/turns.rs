//! Turns for what anybody may ask without a credential: so much at a time, and for so long, that nothing is taken from those who
//! have one. A review is small and comes at once: whoever sends much waits for others who do, and whoever sends slowly is gone
//! soon. What takes long to decide, Networks and classes, has turns of its own for all of its way, so that pods, for which the
//! API server waits a second, never wait for it.

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
/// Small ones at a time of what is decided at once: 8 MB of them.
const QUICK_AT_ONCE: usize = 64;
/// Small ones at a time of Networks, and of classes: most of them wait for those before them to be decided.
const SLOW_AT_ONCE: usize = 16;
/// Others at a time, of each sort: what is read of one may take many times its size.
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
    /// Pods and definitions: each is looked at by itself.
    quick: Sort,
    /// Each is held against all others: one core's work at most.
    networks: Sort,
    /// Each is held against every Network that it serves.
    classes: Sort,
}

/// Turns of reviews that may wait for one another.
#[derive(Debug)]
struct Sort {
    small: Semaphore,
    large: Semaphore,
    /// Where a decision takes long.
    decisions: Option<Semaphore>,
}

impl Sort {
    fn new(small: usize, decisions: Option<usize>) -> Self {
        Self {
            small: Semaphore::new(small),
            large: Semaphore::new(LARGE_AT_ONCE),
            decisions: decisions.map(Semaphore::new),
        }
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            quick: Sort::new(QUICK_AT_ONCE, None),
            networks: Sort::new(SLOW_AT_ONCE, Some(1)),
            classes: Sort::new(SLOW_AT_ONCE, Some(1)),
        }
    }
}

impl Turns {
    const fn of(&self, subject: Subject) -> &Sort {
        match subject {
            Subject::Network => &self.networks,
            Subject::NetworkClass => &self.classes,
            Subject::Pod | Subject::Launcher | Subject::Attachment => &self.quick,
        }
    }

    /// The body of a request, and the turn that it takes until its answer is there.
    pub(super) async fn body(
        &self,
        subject: Subject,
        request: Request,
    ) -> Result<(Bytes, SemaphorePermit<'_>), TurnError> {
        let sort = self.of(subject);
        let turn = turn(if is_small(&request) { &sort.small } else { &sort.large }).await?;
        let body = timeout(SENDING, Bytes::from_request(request, &())).await.map_err(|_| TurnError::Slow)?;
        Ok((body?, turn))
    }

    /// The turn that a decision takes beside, where it is one that takes long.
    pub(super) async fn decision(&self, subject: Subject) -> Result<Option<SemaphorePermit<'_>>, TurnError> {
        match &self.of(subject).decisions {
            Some(decisions) => turn(decisions).await.map(Some),
            None => Ok(None),
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
