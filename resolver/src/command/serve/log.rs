//! What the service says about its work, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::ServeError;
use crate::cli::{LogFormat, ServeArgs};

/// From now on, all that is logged goes to standard error.
pub(super) fn to_stderr(args: &ServeArgs) -> Result<(), ServeError> {
    let filter = EnvFilter::builder()
        .parse(&args.log)
        .map_err(|source| ServeError::Log { filter: args.log.clone(), source })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match args.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
