//! `knap-resolver serve`: the service, on the store that the arguments name.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::attach::Attacher;
use crate::cli::{LogFormat, ServeArgs};
use crate::http::{self, Service, TokenFile, TokenFileError};
use crate::manifests::{Folder, FolderError};
use crate::provision::{Provisioner, Rules};
use crate::store::embedded::{EmbeddedStore, OpenError};
use crate::view::View;

/// How long requests under way have to end after SIGTERM; the process ends within five seconds.
const DRAIN: Duration = Duration::from_secs(3);
/// How long whatever can't be ended otherwise has after that.
const EXIT: Duration = Duration::from_secs(1);
/// How often what was kept for Networks that are gone is forgotten.
const TIDY: Duration = Duration::from_secs(60);

/// Why the service did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What to log is not understood.
    #[error("--log {filter:?} is neither a level (error, warn, info, debug, trace) nor a list of directives")]
    Log {
        /// As given.
        filter: String,
        /// What is wrong in it.
        #[source]
        source: ParseError,
    },
    /// No threads to run on.
    #[error("can't start the threads of the service")]
    Threads(#[source] io::Error),
    /// The state file.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The token file.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// The folder of manifests.
    #[error(transparent)]
    Manifests(#[from] FolderError),
    /// The address.
    #[error("can't listen on {address}: choose another port, or end what listens there")]
    Listen {
        /// As given.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// SIGTERM could not be waited for.
    #[error("can't wait for signals")]
    Signals(#[source] io::Error),
    /// The connections failed.
    #[error("can't go on serving")]
    Serve(#[source] io::Error),
    /// A part of the service ended by itself.
    #[error("the service's {0} ended unexpectedly; see the log above")]
    Ended(&'static str),
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: &ServeArgs) -> Result<(), ServeError> {
    log_to_stderr(args)?;
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(ServeError::Threads)?;
    let served = runtime.block_on(serve(args));
    // Whatever is still being read from a disk is not waited for.
    runtime.shutdown_timeout(EXIT);
    served
}

fn log_to_stderr(args: &ServeArgs) -> Result<(), ServeError> {
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

async fn serve(args: &ServeArgs) -> Result<(), ServeError> {
    let stop = stop_signal()?;
    let started = tokio::select! {
        started = start(args) => started?,
        () = stopped(stop.clone()) => return Ok(()),
    };
    let Started { service, mut parts, mut followers } = started;
    let unusable = |source| ServeError::Listen { address: args.listen, source };
    let listener = TcpListener::bind(args.listen).await.map_err(unusable)?;
    tracing::info!(address = %listener.local_addr().map_err(unusable)?, "serving");
    tokio::select! {
        served = http::serve(listener, http::router(service), stopped(stop), DRAIN) => {
            served.map_err(ServeError::Serve)
        }
        _ = parts.join_next() => Err(ServeError::Ended("controller or manifest folder")),
        _ = followers.join_next() => Err(ServeError::Ended("watch of the store")),
    }
}

/// All that runs; it ends when this is dropped.
struct Started {
    service: Arc<Service<EmbeddedStore>>,
    parts: JoinSet<()>,
    followers: JoinSet<()>,
}

/// Starts every part in the order in which they need each other. When it returns, the manifests have been applied and
/// every Network has been looked at.
async fn start(args: &ServeArgs) -> Result<Started, ServeError> {
    let store = EmbeddedStore::open(&args.state)?;
    let token = TokenFile::open(&args.token_file)?;
    let mut folder = Folder::new(&args.manifests);
    folder.apply_once(&store).await?;
    let broken = folder.broken();

    let (changed, changes) = mpsc::unbounded_channel();
    let (view, followers) = View::follow(&store, changed);
    let (first_pass, provisioned) = oneshot::channel();
    let provisioner = Provisioner::new(store.clone(), Arc::clone(&view), Rules { sticky: false });
    let mut parts = JoinSet::new();
    parts.spawn(provisioner.run(changes, first_pass));
    parts.spawn(folder.watch(store.clone()));
    provisioned.await.map_err(|_| ServeError::Ended("controller"))?;

    let service = Arc::new(Service {
        attacher: Attacher::new(store.clone(), Arc::clone(&view)),
        store,
        view,
        token,
        store_name: "embedded",
        broken_manifests: Box::new(move || broken.borrow().iter().map(ToString::to_string).collect()),
    });
    parts.spawn(tidy(Arc::clone(&service)));
    Ok(Started { service, parts, followers })
}

async fn tidy(service: Arc<Service<EmbeddedStore>>) {
    let mut interval = tokio::time::interval(TIDY);
    loop {
        interval.tick().await;
        service.attacher.tidy();
    }
}

/// Turns true at SIGTERM or SIGINT.
fn stop_signal() -> Result<watch::Receiver<bool>, ServeError> {
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
    Ok(stopped)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // The task that sends lives until it has sent.
    let _ = stop.wait_for(|stop| *stop).await;
}
