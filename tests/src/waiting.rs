//! Waiting on a condition.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Longer than anything takes on a slow, busy machine; a test that passes never waits for it.
pub const GENEROUS: Duration = Duration::from_secs(180);

/// Between two starts of a program that asks, kubectl say: each costs a busy machine a part of what it is waited for.
pub const SELDOM: Duration = Duration::from_millis(200);

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

/// Asks again until this is the answer.
///
/// # Panics
/// With `what` and the last answer, if it is another for [`GENEROUS`].
pub fn eventually_is<T: PartialEq + Debug>(what: &str, expected: &T, ask: impl Fn() -> T) {
    let begin = Instant::now();
    loop {
        let answer = ask();
        if answer == *expected {
            return;
        }
        assert!(
            begin.elapsed() < GENEROUS,
            "{what} after {} s: {answer:?}, not {expected:?}",
            GENEROUS.as_secs()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
