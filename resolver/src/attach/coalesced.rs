//! Reads that are shared: one serves everybody who asked before it began.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

type Turn<T> = Shared<BoxFuture<'static, T>>;

/// A read of which at most one is under way and at most one waits. Whoever asks gets the answer of one that begins
/// later than the question: that is what makes it consistent for the asker.
#[derive(Clone)]
pub(super) struct Coalesced<T: Clone> {
    turns: Arc<Mutex<Turns<T>>>,
}

struct Turns<T: Clone> {
    running: Option<Turn<T>>,
    waiting: Option<Turn<T>>,
}

impl<T: Clone> Default for Coalesced<T> {
    fn default() -> Self {
        Self { turns: Arc::new(Mutex::new(Turns { running: None, waiting: None })) }
    }
}

impl<T: Clone + Send + Sync + 'static> Coalesced<T> {
    /// The answer of a read that begins after this call. `read` is used if no other caller's waits already.
    pub(super) async fn read<F, R>(&self, read: F) -> T
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = T> + Send + 'static,
    {
        let turn = self.turns.lock().join(&self.turns, read);
        turn.await
    }

    /// Whether nobody else has this one, to ask it.
    pub(super) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.turns) == 1
    }
}

impl<T: Clone + Send + Sync + 'static> Turns<T> {
    fn join<F, R>(&mut self, turns: &Arc<Mutex<Self>>, read: F) -> Turn<T>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = T> + Send + 'static,
    {
        if let Some(waiting) = &self.waiting {
            return waiting.clone();
        }
        let before = self.running.clone();
        let turns = Arc::downgrade(turns);
        let turn = async move {
            // The one under way must end first; if its askers have all gone, this drives it.
            if let Some(before) = before {
                before.await;
            }
            if let Some(turns) = turns.upgrade() {
                let mut turns = turns.lock();
                turns.running = turns.waiting.take();
            }
            read().await
        };
        let turn = turn.boxed().shared();
        self.waiting = Some(turn.clone());
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_read_serves_all_who_asked_before_it_began() {
        let reads = Arc::new(AtomicUsize::new(0));
        let coalesced = Coalesced::default();
        let ask = || {
            let reads = Arc::clone(&reads);
            coalesced.read(move || async move {
                let number = reads.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
                number
            })
        };
        let answers = futures::future::join_all((0..100).map(|_| ask())).await;
        assert_eq!(reads.load(Ordering::SeqCst), 2, "{answers:?}");
        assert_eq!(ask().await, reads.load(Ordering::SeqCst), "a later question gets a later read");
    }

    #[tokio::test]
    async fn an_abandoned_read_does_not_block_the_next() {
        let coalesced: Coalesced<u32> = Coalesced::default();
        let stuck = coalesced.read(|| async {
            tokio::task::yield_now().await;
            1
        });
        assert!(futures::poll!(Box::pin(stuck)).is_pending());
        assert_eq!(coalesced.read(|| async { 2 }).await, 2);
    }
}
