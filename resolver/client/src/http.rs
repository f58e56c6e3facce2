//! One HTTP request to one endpoint.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use knap_protocol::{CniCode, NodeName, Problem, ResolverAccess};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::transport::{Connector, RustlsConnector, TcpConnector};

use crate::address::AddressFirst;
use crate::reached::Reached;
use crate::{Cause, Endpoint};

/// The methods that the protocol uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Put,
    Post,
    Delete,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) path: &'a str,
    pub(crate) body: Vec<u8>,
    /// For all of it, from the connection to the answer's last byte.
    pub(crate) timeout: Duration,
    /// For the connection, TLS included.
    pub(crate) connect: Duration,
    pub(crate) node: &'a NodeName,
    pub(crate) access: &'a ResolverAccess,
}

/// No answer of the protocol comes near this.
const LARGEST_ANSWER: u64 = 16 << 20;

/// An answer of success.
#[derive(Debug)]
pub(crate) struct Answer {
    endpoint: String,
    status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The error that a body is which says nothing to us.
    pub(crate) fn garbage(&self, reason: String) -> Cause {
        Cause::Garbage { endpoint: self.endpoint.clone(), status: self.status, reason }
    }
}

/// Sends it, and reads the answer. All but success is an error.
pub(crate) fn send(request: &Request<'_>) -> Result<Answer, Cause> {
    let reached = Reached::default();
    let agent = agent(request, &reached)?;
    let url = request.endpoint.url(request.path);
    let answered = match request.method {
        // The status is for everybody, and asked when there may be no token yet.
        Method::Get => agent.get(&url).call(),
        Method::Delete => agent.delete(&url).header("authorization", bearer(request.access)?).call(),
        Method::Put | Method::Post => {
            let builder = if request.method == Method::Put { agent.put(&url) } else { agent.post(&url) };
            let builder = builder.header("authorization", bearer(request.access)?);
            builder.content_type("application/json").send(&request.body[..])
        }
    };
    let mut response = answered.map_err(|error| without_answer(request, &reached, &error))?;
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(LARGEST_ANSWER)
        .read_to_vec()
        .map_err(|error| no_answer(request.endpoint, &error))?;
    let answer = Answer { endpoint: request.endpoint.as_str().to_owned(), status, body };
    if (200..300).contains(&status) { Ok(answer) } else { Err(refusal(request, &answer)) }
}

/// Why the resolver did not do it.
fn refusal(request: &Request<'_>, answer: &Answer) -> Cause {
    let status = answer.status;
    let problem = match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => problem,
        // A proxy or a server's own page: the status says what little there is to know.
        Err(_) if matches!(status, 401 | 403) => bare_problem(status),
        Err(error) => return answer.garbage(format!("no problem document ({error})")),
    };
    if matches!(status, 401 | 403) {
        let token_file = request.access.token_file.clone();
        Cause::Credential { problem: Box::new(problem), node: request.node.clone(), token_file }
    } else {
        Cause::Refused { problem: Box::new(problem) }
    }
}

/// What a 401 or 403 without a document means.
fn bare_problem(status: u16) -> Problem {
    let (cni_code, title) = match status {
        401 => (CniCode::TRY_AGAIN, "the resolver does not accept this node's token"),
        _ => (CniCode::INVALID_CONFIG, "the resolver does not permit this"),
    };
    Problem {
        kind: String::new(),
        title: title.to_owned(),
        status,
        detail: String::new(),
        id: String::new(),
        cni_code,
        retryable: status == 401,
        unsettled: false,
    }
}

fn agent(request: &Request<'_>, reached: &Reached) -> Result<Agent, Cause> {
    let timeout = Some(request.timeout);
    let mut builder = Agent::config_builder()
        // The environment's proxy is for the world outside; the resolver is inside.
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .user_agent(concat!("knap/", env!("CARGO_PKG_VERSION")))
        .timeout_global(timeout)
        .timeout_per_call(timeout)
        .timeout_resolve(timeout)
        // Shorter than the whole, so that a connection that never came about is told from an answer that did not.
        .timeout_connect(Some(request.connect.min(request.timeout / 2)))
        .timeout_send_request(timeout)
        .timeout_send_body(timeout)
        .timeout_recv_response(timeout)
        .timeout_recv_body(timeout);
    if request.endpoint.tls() {
        builder = builder.tls_config(tls(request.access)?);
    }
    let connector =
        ().chain(TcpConnector::default()).chain(reached.clone()).chain(RustlsConnector::default());
    Ok(Agent::with_parts(builder.build(), connector, AddressFirst::default()))
}

/// Only for https: reading certificates and setting up a provider costs more than a whole plain call.
fn tls(access: &ResolverAccess) -> Result<TlsConfig, Cause> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::new_with_certs(&authorities(access)?));
    Ok(builder.build())
}

/// Without a CA file nobody is trusted: the plugin carries no list of public authorities.
fn authorities(access: &ResolverAccess) -> Result<Vec<Certificate<'static>>, Cause> {
    let Some(path) = &access.ca_file else { return Ok(Vec::new()) };
    let unusable = |reason: String| Cause::Authority { path: path.clone(), reason };
    let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| unusable(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        Err(unusable("it holds no certificate".to_owned()))
    } else {
        Ok(certificates)
    }
}

/// Read at each call: the token rotates.
fn bearer(access: &ResolverAccess) -> Result<String, Cause> {
    let path = &access.token_file;
    let unreadable = |source| Cause::Token { path: path.clone(), source };
    let token = fs::read_to_string(path).map_err(unreadable)?;
    let token = token.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "it holds no token")));
    }
    Ok(format!("Bearer {token}"))
}

/// Tells a connection that never came about from a request whose fate is unknown.
fn without_answer(request: &Request<'_>, reached: &Reached, error: &ureq::Error) -> Cause {
    use ureq::{Error, Timeout};
    let endpoint = request.endpoint;
    if let Some(rustls::Error::InvalidCertificate(reason)) = encryption(error) {
        return Cause::Untrusted {
            endpoint: endpoint.as_str().to_owned(),
            reason: rustls::Error::InvalidCertificate(reason.clone()).to_string(),
            ca_file: request.access.ca_file.clone(),
        };
    }
    let never_sent = match error {
        Error::HostNotFound
        | Error::ConnectionFailed
        | Error::BadUri(_)
        | Error::Http(_)
        | Error::Tls(_)
        | Error::TlsRequired
        | Error::Pem(_)
        | Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        Error::Io(error) if error.get_ref().is_none() => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable
        ),
        // Any other trouble of TLS may come after the request has been read.
        error => matches!(encryption(error), Some(rustls::Error::PeerIncompatible(_))),
    };
    if never_sent {
        let reason = match error {
            Error::Timeout(Timeout::Connect) if reached.somebody() => {
                "it accepts, but TLS was not settled in time".to_owned()
            }
            error => plain(error),
        };
        Cause::Unreachable { endpoint: endpoint.as_str().to_owned(), reason }
    } else {
        no_answer(endpoint, error)
    }
}

/// What TLS says, which it says through an I/O error.
fn encryption(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn no_answer(endpoint: &Endpoint, error: &ureq::Error) -> Cause {
    Cause::NoAnswer { endpoint: endpoint.as_str().to_owned(), reason: plain(error) }
}

fn plain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect) => "no connection came about in time".to_owned(),
        ureq::Error::Timeout(_) => "the time for it is over".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
