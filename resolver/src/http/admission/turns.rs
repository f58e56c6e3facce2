//! Turns for what anybody may ask without a credential: so much at a time that nothing is taken from those who have one. A review
//! has its turn when all of it is there, so whoever sends slowly holds up nobody's; while it comes, it has its room among those of
//! its sort ([`Bodies`]). Whoever sends much waits for others who do. What takes long to decide, Networks and classes, has turns and
//! room of its own for all of its way, so that pods, for which the API server waits a second, never wait for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::BODY_LIMIT;
use crate::admission::Subject;
use crate::http::bodies::{Bodies, BodyError, Bounds, Room};
use crate::http::peers::Place;

/// Bytes of a small body. Nearly all reviews have one.
const SMALL: usize = 128 << 10;
/// Small ones at a time of what is decided at once: 8 MB of them.
const QUICK_AT_ONCE: usize = 64;
/// Small ones at a time of Networks, and of classes: most of them wait for those before them to be decided.
const SLOW_AT_ONCE: usize = 16;
/// Others at a time, of each sort: what is read of one may take many times its size.
const LARGE_AT_ONCE: usize = 1;
/// For a turn.
const WAITING: Duration = Duration::from_secs(3);

/// Bodies of each sort: four of the largest, from as many addresses.
const BOUNDS: Bounds = Bounds {
    // A connection costs about as much by itself.
    free: 64 << 10,
    whole: 4 * BODY_LIMIT,
    share: BODY_LIMIT,
    // The API server sends a review at once.
    sending: Duration::from_secs(2),
};

/// Why a request gets no turn.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnError {
    /// Too many others.
    #[error("too many reviews are under way; try again")]
    Busy,
    /// It did not come.
    #[error(transparent)]
    Body(#[from] BodyError),
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

/// The turn of a review, over when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    _room: Room,
}

/// Turns of reviews that may wait for one another.
#[derive(Debug)]
struct Sort {
    /// By the address that sends them, where it is known.
    bodies: Bodies<Option<IpAddr>>,
    small: Semaphore,
    large: Semaphore,
    /// Where a decision takes long.
    decisions: Option<Semaphore>,
}

impl Sort {
    fn new(small: usize, decisions: Option<usize>) -> Self {
        Self {
            bodies: Bodies::new(BOUNDS),
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

    /// The body of a request, and the turn that it then takes until its answer is there.
    pub(super) async fn body(
        &self,
        subject: Subject,
        request: Request,
    ) -> Result<(Bytes, Turn<'_>), TurnError> {
        let sort = self.of(subject);
        let (head, body) = request.into_parts();
        let peer = head.extensions.get::<Arc<Place>>().map(|place| place.peer());
        let (body, room) = sort.bodies.read(peer, &head.headers, body, BODY_LIMIT).await?;
        let permit = turn(if body.len() <= SMALL { &sort.small } else { &sort.large }).await?;
        Ok((body, Turn { _permit: permit, _room: room }))
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
