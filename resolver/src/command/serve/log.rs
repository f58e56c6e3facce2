//! What the service says about its work, on standard error.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::ServeError;
use crate::cli::{LogFormat, ServeArgs};

/// So many lines wait for whoever reads standard error. Those that come then are counted, and dropped: a runtime that hangs, or
/// a disk that is full, keeps no request from its answer.
const WAITING: usize = 16_384;

/// A log that is being written. Dropping it writes what waits.
pub(super) struct Log {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

impl Log {
    /// Counts the lines that nobody took.
    pub(super) fn dropped(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}

/// From now on, all that is logged goes to standard error, by a thread of its own.
pub(super) fn to_stderr(args: &ServeArgs) -> Result<Log, ServeError> {
    let filter = EnvFilter::builder()
        .parse(&args.log)
        .map_err(|source| ServeError::Log { filter: args.log.clone(), source })?;
    let (lines, writer) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let dropped = lines.error_counter();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_target(false);
    match args.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(Log { dropped, _writer: writer })
}
