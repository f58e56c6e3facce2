//! Watching one kind. kube's watcher lists and follows, resumes after disconnects and begins anew where the API server has
//! forgotten what it was at; here are the waits between attempts, the log, and what that watcher does not see.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use kube::Client;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event, watcher};

use super::call::CallError;
use super::without_managed_fields;
use crate::quickened::quickened;
use crate::store::{Kind, WatchEvent};

/// How long a watch and its connection last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// After so long the API server ends a watch that is then taken up again. It tells the version that it is at shortly before,
    /// so that a kind which never changes does not fall behind what the API server remembers.
    turn: Duration,
    /// A connection on which nothing was heard for so long is dead. More than the turn.
    pub(super) silence: Duration,
}

impl Terms {
    /// What this program runs on: a test may see connections die, by `KNAP_WATCH_SECONDS=turn,silence`.
    pub(super) fn of_this_build() -> Self {
        let [turn, silence] = quickened("KNAP_WATCH_SECONDS").unwrap_or([60, 75].map(Duration::from_secs));
        Self { turn, silence }
    }
}

/// Between attempts: at first, and at most.
const DELAYS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Objects that do not decode must not hide the others.
type Told<K> = Result<Event<DeserializeGuard<K>>, watcher::Error>;

pub(super) fn watch<K: Kind>(client: &Client) -> impl Stream<Item = WatchEvent<K>> + Send + Unpin + 'static {
    let watcher = Watcher::<K> {
        told: decoding(client.clone()),
        client: client.clone(),
        delays: delays(),
        troubled: false,
    };
    stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await;
        Some((event, watcher))
    })
    .boxed()
}

struct Watcher<K> {
    client: Client,
    told: BoxStream<'static, Told<K>>,
    delays: ExponentialBackoff,
    /// The last thing told was an error.
    troubled: bool,
}

impl<K: Kind> Watcher<K> {
    async fn next(&mut self) -> WatchEvent<K> {
        loop {
            match self.told.next().await {
                Some(Ok(event)) => {
                    // A beginning is told before anything was asked.
                    if self.troubled && !matches!(event, Event::Init) {
                        tracing::info!(kind = %K::plural(&()), "watching again");
                        (self.troubled, self.delays) = (false, delays());
                    }
                    if let Some(event) = understood(event) {
                        return event;
                    }
                }
                Some(Err(error)) => self.recover(error).await,
                // Can't be: it never ends.
                None => self.told = decoding(self.client.clone()),
            }
        }
    }

    async fn recover(&mut self, error: watcher::Error) {
        match &error {
            // One object in a page hides all the others, unless each is guarded, which costs memory and time.
            watcher::Error::InitialListFailed(kube::Error::SerdeError(_)) => {
                self.told = guarding(self.client.clone());
            }
            // The watcher would ask for the same version again.
            watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410 => {
                self.told = decoding(self.client.clone());
            }
            _ => {}
        }
        self.report(&error);
        tokio::time::sleep(self.delays.next().unwrap_or(DELAYS.1)).await;
    }

    /// Said once for each trouble, however long that lasts.
    fn report(&mut self, error: &watcher::Error) {
        let (kind, not_served) = (K::plural(&()), CallError::not_served::<K>());
        let error: &dyn std::error::Error = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
                if status.code == 404 =>
            {
                &not_served
            }
            other => other,
        };
        if self.troubled {
            tracing::debug!(%kind, error, "still can't watch");
        } else {
            tracing::warn!(%kind, error, "can't watch; trying again until it succeeds");
        }
        self.troubled = true;
    }
}

fn decoding<K: Kind>(client: Client) -> BoxStream<'static, Told<K>> {
    let events = watcher(Api::<K>::all(client), configuration());
    events.map(|event| event.map(guarded)).boxed()
}

fn guarding<K: Kind>(client: Client) -> BoxStream<'static, Told<K>> {
    watcher(Api::<DeserializeGuard<K>>::all(client), configuration()).boxed()
}

fn configuration() -> watcher::Config {
    let turn = Terms::of_this_build().turn.as_secs();
    watcher::Config::default().timeout(u32::try_from(turn).unwrap_or(u32::MAX))
}

fn delays() -> ExponentialBackoff {
    let (least, most) = DELAYS;
    ExponentialBuilder::default()
        .with_min_delay(least)
        .with_max_delay(most)
        .without_max_times()
        .with_jitter()
        .build()
}

fn guarded<K>(event: Event<K>) -> Event<DeserializeGuard<K>> {
    let guard = |object| DeserializeGuard(Ok(object));
    match event {
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(guard(object)),
        Event::InitDone => Event::InitDone,
        Event::Apply(object) => Event::Apply(guard(object)),
        Event::Delete(object) => Event::Delete(guard(object)),
    }
}

fn understood<K: Kind>(event: Event<DeserializeGuard<K>>) -> Option<WatchEvent<K>> {
    let (object, tell): (_, fn(K) -> WatchEvent<K>) = match event {
        Event::Init => return Some(WatchEvent::Restarted),
        Event::InitDone => return Some(WatchEvent::Current),
        Event::InitApply(object) => (object, WatchEvent::Existing),
        Event::Apply(object) => (object, WatchEvent::Applied),
        Event::Delete(object) => (object, WatchEvent::Deleted),
    };
    match object.0 {
        Ok(object) => Some(tell(without_managed_fields(object))),
        Err(invalid) => {
            let (kind, name) = (K::kind(&()), invalid.metadata.name.as_deref().unwrap_or_default());
            tracing::error!(%kind, name, error = invalid.error, "an object can't be understood and is left out");
            None
        }
    }
}
