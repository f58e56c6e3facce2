//! Waiting on a condition.

use std::fmt::Debug;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

/// Stops a process, and returns once all of its threads are: one that runs on another processor may still answer somebody.
pub(crate) fn freeze(process: Pid) {
    kill(process, Signal::SIGSTOP).expect("a signal to a program of this test");
    eventually("all of a process is stopped", || {
        let mut tasks = fs::read_dir(format!("/proc/{process}/task")).expect("its threads").flatten();
        let is_stopped = |task: fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.contains("State:\tT")
        };
        tasks.all(is_stopped).then_some(())
    });
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
