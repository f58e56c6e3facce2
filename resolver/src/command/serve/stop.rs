//! The wish that the service ends: SIGTERM or SIGINT.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::ServeError;

/// Turns true once. Every part waits on a copy of its own.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Begins to listen for the signals.
    pub(super) fn on_signals() -> Result<Self, ServeError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "ending");
            stop.send_replace(true);
        });
        Ok(Self(stopped))
    }

    /// Waits until it is wished for.
    pub(super) async fn wished(mut self) {
        // The task that sends lives until it has sent.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
