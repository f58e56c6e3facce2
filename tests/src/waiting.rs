//! Waiting on a condition.

use std::time::{Duration, Instant};

/// Longer than anything takes on a slow, busy machine; a test that passes never waits for it.
pub const GENEROUS: Duration = Duration::from_secs(60);

/// Asks again until there is an answer.
///
/// # Panics
/// With `what`, if there is none within [`GENEROUS`].
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < GENEROUS, "waited {} s in vain: {what}", GENEROUS.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}
