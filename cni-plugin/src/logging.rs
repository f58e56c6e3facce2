//! Log lines, as the node file wants them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use knap_protocol::Log;
use tracing::level_filters::LevelFilter;

/// Starts the log. One that can't be opened is no reason to refuse a pod its network: standard error serves instead.
pub fn start(log: &Log) {
    let level = log.level.parse().unwrap_or(LevelFilter::INFO);
    // A line that can't be written is lost. Reported on standard error it would be the end of us where that is closed.
    let builder = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_target(false)
        .with_max_level(level)
        .log_internal_errors(false);
    // An error of try_init says that a log was started before; then that one serves.
    match log.file.as_deref().map(open) {
        Some(Ok(file)) => drop(builder.with_writer(file).try_init()),
        Some(Err(error)) => {
            drop(builder.with_writer(io::stderr).try_init());
            tracing::warn!(file = ?log.file, %error, "can't open the log file");
        }
        None => drop(builder.with_writer(io::stderr).try_init()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
