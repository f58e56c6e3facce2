//! A proxy between a replica and its API server, which can do to that replica what a network, a load balancer and a busy
//! API server do: answer late, never, half, or hold back what watches tell. It speaks TLS with a certificate of its own.

mod call;
mod rules;

use std::convert::Infallible;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use http::{StatusCode, header};
use kube::Client;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tower::Service;

use self::call::Call;
use self::rules::Rules;
use super::{KubernetesApi, RESOLVER};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It goes to the API server, and the answer comes back.
    Forward,
    /// The same, after so long.
    Late(Duration),
    /// It waits until it has another fate, even if whoever sent it has gone. A watch that runs tells nothing meanwhile.
    Held,
    /// Answered with this status, and nobody is asked.
    Refused(u16),
    /// Nobody is asked, and the connection ends; also that of a watch that runs.
    Lost,
    /// It goes to the API server, and the connection ends instead of an answer.
    AnswerLost,
    /// It goes to the API server, and the connection ends in the middle of the answer.
    AnswerHalf,
}

/// The proxy. It ends with this value.
#[derive(Debug)]
pub struct Proxy {
    kubeconfig: PathBuf,
    rules: Arc<Rules>,
    handle: Handle<SocketAddr>,
}

impl KubernetesApi {
    /// A proxy before this API, which lives on the calling test's runtime.
    pub async fn proxy(&self) -> Proxy {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the proxy");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let address = listener.local_addr().expect("the proxy's address");
        let identity =
            rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let kubeconfig = self.folder.path().join(format!("proxy-{number}.kubeconfig"));
        let authority = self.folder.path().join(format!("proxy-{number}.crt"));
        fs::write(&authority, identity.cert.pem()).expect("the proxy's certificate");
        fs::write(&kubeconfig, kubeconfig_of(address, &authority).to_string()).expect("a kubeconfig");

        let mut config = self.config(RESOLVER).await;
        config.default_retry = false;
        config.read_timeout = None;
        let upstream = Client::try_from(config).expect("a client");
        let (rules, handle) = (Arc::<Rules>::default(), Handle::new());
        let front = Front(Router::new().fallback(serve).with_state((upstream, Arc::clone(&rules))));
        let server = axum_server::from_tcp_rustls(listener, tls_of(&identity)).expect("a server");
        let server = server.handle(handle.clone());
        tokio::spawn(async move { server.serve(Fronts(front)).await.expect("the proxy serves") });
        Proxy { kubeconfig, rules, handle }
    }
}

impl Proxy {
    /// The argument by which a replica comes this way.
    pub fn flag(&self) -> String {
        format!("--kubeconfig={}", self.kubeconfig.display())
    }

    /// From now on this becomes of requests like `create networkleases`; `*` stands for every verb or every kind.
    pub fn on(&self, pattern: &str, fate: Fate) {
        self.rules.add(pattern, fate, None);
    }

    /// This becomes of the next request like that, once.
    pub fn once(&self, pattern: &str, fate: Fate) {
        self.rules.add(pattern, fate, Some(1));
    }

    /// From now on everything goes its way.
    pub fn heal(&self) {
        self.rules.clear();
    }

    /// The watches that run tell nothing any more, nor end: their connections are there, and dead. Later ones are as ever.
    pub fn silence(&self) {
        self.rules.silence();
    }

    /// How many requests like that have come.
    pub fn seen(&self, pattern: &str) -> usize {
        self.rules.seen(pattern)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

fn kubeconfig_of(address: SocketAddr, authority: &std::path::Path) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{ "name": "test", "cluster": {
            "server": format!("https://{address}"), "certificate-authority": authority,
        } }],
        "users": [{ "name": RESOLVER, "user": { "token": RESOLVER } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": RESOLVER } }],
    })
}

fn tls_of(identity: &rcgen::CertifiedKey<rcgen::KeyPair>) -> RustlsConfig {
    let key = PrivateKeyDer::Pkcs8(identity.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)
        .expect("a certificate and its key");
    RustlsConfig::from_config(Arc::new(config))
}

/// The connection ends here, without an answer.
#[derive(Debug, Clone, Copy)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("cut by the test")
    }
}

impl std::error::Error for Cut {}

impl IntoResponse for Cut {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}

/// The router, but that an answer of [`Cut`] ends the connection.
#[derive(Clone)]
struct Front(Router);

impl<B> Service<http::Request<B>> for Front
where
    Router: Service<http::Request<B>, Response = Response, Error = Infallible>,
    <Router as Service<http::Request<B>>>::Future: Send + 'static,
{
    type Response = Response;
    type Error = Cut;
    type Future = BoxFuture<'static, Result<Response, Cut>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        // A router always is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let Ok(answer) = answer.await;
            if answer.extensions().get::<Cut>().is_some() { Err(Cut) } else { Ok(answer) }
        })
    }
}

/// One for each connection.
struct Fronts(Front);

impl Service<SocketAddr> for Fronts {
    type Response = Front;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Front, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: SocketAddr) -> Self::Future {
        std::future::ready(Ok(self.0.clone()))
    }
}

async fn serve(
    State((upstream, rules)): State<(Client, Arc<Rules>)>,
    request: Request,
) -> Result<Response, Cut> {
    let call = Call::of(request.method(), request.uri());
    let fate = rules.take(&call);
    // It goes on where whoever asked has gone: what is under way to an API server does too.
    let treated = tokio::spawn(treat(upstream, rules, call, fate, request));
    treated.await.expect("no panic in the proxy")
}

async fn treat(
    upstream: Client,
    rules: Arc<Rules>,
    call: Call,
    fate: Fate,
    request: Request,
) -> Result<Response, Cut> {
    let request = forwardable(request).await?;
    let fate = if fate == Fate::Held { rules.released(&call).await } else { fate };
    match fate {
        Fate::Lost => return Err(Cut),
        Fate::Refused(status) => return Ok(refusal(status)),
        Fate::Late(by) => tokio::time::sleep(by).await,
        Fate::Forward | Fate::Held | Fate::AnswerLost | Fate::AnswerHalf => {}
    }
    let answer = upstream.send(request).await.map_err(|_| Cut)?.map(Body::new);
    match fate {
        Fate::AnswerLost => {
            whole(answer.into_body()).await?;
            Err(Cut)
        }
        Fate::AnswerHalf => half(answer).await,
        _ if call.is_watch() => Ok(answer.map(|told| held_back(told, rules, call))),
        _ => Ok(answer),
    }
}

/// The request without what concerns the connection that it came on.
async fn forwardable(request: Request) -> Result<http::Request<kube::client::Body>, Cut> {
    let (mut parts, body) = request.into_parts();
    for name in [header::HOST, header::CONNECTION, header::AUTHORIZATION, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    parts.version = http::Version::HTTP_11;
    let body = whole(body).await?;
    Ok(http::Request::from_parts(parts, kube::client::Body::from(body.to_vec())))
}

async fn whole(body: Body) -> Result<Bytes, Cut> {
    axum::body::to_bytes(body, usize::MAX).await.map_err(|_| Cut)
}

/// In the form in which the API server refuses.
fn refusal(status: u16) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": status,
        "reason": "Told", "message": "refused by the test",
    });
    let status = StatusCode::from_u16(status).expect("an HTTP status");
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Announced in full, and broken off.
async fn half(answer: Response) -> Result<Response, Cut> {
    let (mut parts, body) = answer.into_parts();
    let body = whole(body).await?;
    parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
    let pieces = stream::iter([Ok(body.slice(..body.len() / 2)), Err(Cut)]);
    Ok(Response::from_parts(parts, Body::from_stream(pieces)))
}

/// What a watch tells, as long as it is not held or cut.
fn held_back(told: Body, rules: Arc<Rules>, call: Call) -> Body {
    let silences = rules.silences();
    let told = (told.into_data_stream(), rules, call, silences);
    let pieces = stream::unfold(told, |(mut told, rules, call, mut silences)| async move {
        let piece = tokio::select! {
            biased;
            _ = silences.changed() => std::future::pending().await,
            () = rules.cut(&call) => Err(Cut),
            piece = told.next() => piece?.map_err(|_| Cut),
        };
        let piece = match rules.released(&call).await {
            Fate::Lost => Err(Cut),
            _ => piece,
        };
        Some((piece, (told, rules, call, silences)))
    });
    Body::from_stream(pieces)
}
