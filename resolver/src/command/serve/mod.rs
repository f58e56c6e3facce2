//! `knap-resolver serve`: the service, on the store that the arguments name.

mod embedded;
mod error;
mod files;
mod kubernetes;
mod listen;
mod log;
mod stop;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub use error::ServeError;

use crate::cli::{ServeArgs, StoreArgs};
use crate::http::{self, Service};
use crate::store::Store;
use listen::listen;
use log::Log;
use stop::Stop;

/// How long requests under way have to end when no more are taken. A plugin waits for ten seconds at most, and asks again.
const FINISH: Duration = Duration::from_secs(3);
/// How long whatever can't be ended otherwise has after that.
const EXIT: Duration = Duration::from_secs(1);
/// How often what was kept for Networks that are gone is forgotten.
const TIDY: Duration = Duration::from_secs(60);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting, or a part that ended by itself.
pub fn run(args: &ServeArgs) -> Result<(), ServeError> {
    let log = log::to_stderr(args)?;
    files::allow_all();
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(ServeError::Threads)?;
    let served = runtime.block_on(serve(args, &log));
    // Whatever is still being read from a disk is not waited for.
    runtime.shutdown_timeout(EXIT);
    served
}

async fn serve(args: &ServeArgs, log: &Log) -> Result<(), ServeError> {
    let stop = Stop::on_signals()?;
    match &args.store {
        StoreArgs::Embedded(store) => {
            let started = tokio::select! {
                started = embedded::start(store) => started?,
                () = stop.clone().wished() => return Ok(()),
            };
            // Whoever asks is on this host, and asks again.
            started.serve(args, log, stop, Duration::ZERO).await
        }
        StoreArgs::Kubernetes(store) => {
            let started = kubernetes::start(args, store, &stop).await?;
            started.serve(args, log, stop, store.drain).await
        }
    }
}

/// All that runs; it ends when this is dropped.
struct Started<S> {
    service: Arc<Service<S>>,
    parts: JoinSet<()>,
    followers: JoinSet<()>,
    /// How connections are encrypted, where they are.
    tls: Option<Arc<ServerConfig>>,
    /// Ends when what other replicas take over is theirs.
    left: oneshot::Receiver<()>,
}

impl<S: Store> Started<S> {
    /// Answers requests until `stop`, and for `drain` after it.
    async fn serve(
        mut self,
        args: &ServeArgs,
        log: &Log,
        stop: Stop,
        drain: Duration,
    ) -> Result<(), ServeError> {
        self.service.metrics.add_log(log.dropped());
        let unusable = |source| ServeError::Listen { address: args.listen, source };
        let listener = listen(args.listen).map_err(unusable)?;
        tracing::info!(address = %listener.local_addr().map_err(unusable)?, "serving");
        let (service, tls, left) = (Arc::clone(&self.service), self.tls, self.left);
        self.parts.spawn(tidy(Arc::clone(&service)));
        let shutdown = {
            let service = Arc::clone(&service);
            async move {
                stop.wished().await;
                service.readiness.end();
                // Those who route requests here have to learn it first.
                let (_, _) = tokio::join!(tokio::time::sleep(drain), tokio::time::timeout(FINISH, left));
            }
        };
        tokio::select! {
            served = http::serve(listener, tls, http::router(service), shutdown, FINISH) => {
                served.map_err(ServeError::Serve)
            }
            Some(_) = self.parts.join_next() => Err(ServeError::Ended("controller or manifest folder")),
            Some(_) = self.followers.join_next() => Err(ServeError::Ended("watch of the store")),
        }
    }
}

async fn tidy<S: Store>(service: Arc<Service<S>>) {
    let mut interval = tokio::time::interval(TIDY);
    loop {
        interval.tick().await;
        service.attacher.tidy();
    }
}
