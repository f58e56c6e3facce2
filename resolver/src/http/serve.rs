//! Connections: taken, encrypted where there is a certificate, and ended in order.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::ServerConfig;

use super::peers::Peers;

/// How long whoever has connected may take to agree on TLS, and then to ask for something.
const HESITATION: Duration = Duration::from_secs(5);
/// Bytes that are read of a connection before they are taken from it: of a request's head, more than any has.
const READ_AHEAD: usize = 64 << 10;

/// Serves until `shutdown`, over TLS where it is configured; then requests under way have `drain` to end.
///
/// # Errors
/// The listener can't be used.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
    drain: Duration,
) -> io::Result<()> {
    let handle = Handle::<SocketAddr>::new();
    let mut server = axum_server::from_tcp(listener)?
        .http1_only()
        .first_request_timeout(HESITATION)
        .accept_error_handler(|peer, error| tracing::debug!(?peer, %error, "a connection is not accepted"))
        .handle(handle.clone())
        .acceptor(Peers::default());
    server.http_builder().http1().max_buf_size(READ_AHEAD);
    let ending = tokio::spawn(end(shutdown, handle.clone(), drain));
    let service = router.into_make_service();
    let served = match tls {
        None => server.serve(service).await,
        Some(config) => {
            let tls = RustlsAcceptor::new(RustlsConfig::from_config(config)).handshake_timeout(HESITATION);
            server.map(|plain| tls.acceptor(plain)).serve(service).await
        }
    };
    ending.abort();
    let unfinished = handle.connection_count();
    if unfinished > 0 {
        tracing::warn!(connections = unfinished, "some requests did not end in time; they are broken off");
    }
    served
}

async fn end(shutdown: impl Future<Output = ()>, handle: Handle<SocketAddr>, drain: Duration) {
    shutdown.await;
    handle.graceful_shutdown(Some(drain));
}
