//! Calls against small HTTP servers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use knap_protocol::{
    AttachReply, AttachmentKey, BootId, CniCode, Inventory, Problem, ProblemKind, ResolverAccess,
};
use rstest::rstest;
use tempfile::TempDir;

use crate::resolver::TRIES;
use crate::{Endpoint, Outcome, Resolver, ResolverError};

/// What a server does with its one connection.
enum Manner {
    Answer(u16, String),
    CloseUnanswered,
    Silent,
}

/// A server for one request. The join gives what it was asked, headers included.
fn server(manner: Manner) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (address, serve(listener, manner))
}

fn serve(listener: TcpListener, manner: Manner) -> JoinHandle<String> {
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let request = read_request(&stream);
        match manner {
            Manner::Answer(status, body) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                (&stream).write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
            Manner::CloseUnanswered => {}
            Manner::Silent => {
                // Until the caller has had enough.
                let _ = (&stream).read(&mut [0]);
            }
        }
        request
    })
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    // A caller whose time is over goes away, in the middle of it too.
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).is_ok_and(|length| length > 0) {}
    let length = request.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = Vec::new();
    let _ = reader.take(length.parse().unwrap_or(0)).read_to_end(&mut body);
    request + &String::from_utf8_lossy(&body)
}

/// An address where nobody listens: of a loopback that is this process' own, and a port that the kernel gives to nobody.
fn nobody() -> String {
    static PORT: AtomicU16 = AtomicU16::new(20_000);
    // At most 22 bits.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let port = PORT.fetch_add(1, Ordering::Relaxed);
    format!("http://127.{}.{middle}.{low}:{port}", 64 | high)
}

struct Client {
    resolver: Resolver,
    folder: TempDir,
}

fn client(endpoints: &[&str]) -> Client {
    client_with(endpoints, |_, _| {})
}

fn client_with(endpoints: &[&str], change: impl FnOnce(&mut ResolverAccess, &Path)) -> Client {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "secret\n").unwrap();
    let mut access = ResolverAccess {
        endpoints: endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect(),
        ca_file: None,
        token_file,
    };
    change(&mut access, folder.path());
    let endpoints = endpoints.iter().map(|text| Endpoint::parse(text).unwrap()).collect();
    Client { resolver: Resolver::new(&"n1".parse().unwrap(), &access, endpoints), folder }
}

impl Client {
    fn release(&self, patience: Duration) -> Result<(), ResolverError> {
        let key = AttachmentKey { container_id: "c1".parse().unwrap(), ifname: "net1".parse().unwrap() };
        let attempt = "a-1".parse().unwrap();
        self.resolver.release(&key, &attempt, &["shop.blue-5".to_owned()], Instant::now() + patience)
    }

    fn attach(&self, patience: Duration) -> Result<AttachReply, ResolverError> {
        let key = AttachmentKey { container_id: "c1".parse().unwrap(), ifname: "net1".parse().unwrap() };
        let request = serde_json::json!({
            "network": "shop/blue", "bootID": "b", "attempt": "a-1", "deadlineSeconds": 1, "cniVersion": "1.0.0"
        });
        self.resolver.attach(&key, &serde_json::from_value(request).unwrap(), Instant::now() + patience)
    }
}

const LONG: Duration = Duration::from_secs(9);

#[test]
fn an_attachment_is_asked_for_with_the_token_and_the_deadline() {
    let answer = r#"{"id": "d1", "leases": ["shop.blue-5"], "plugins": [], "later": 1}"#;
    let (address, server) = server(Manner::Answer(200, answer.to_owned()));
    let reply = client(&[&address]).attach(LONG).unwrap();
    assert_eq!((reply.id.as_str(), reply.leases.len()), ("d1", 1));
    let request = server.join().unwrap();
    assert!(request.starts_with("PUT /v1/nodes/n1/attachments/c1/net1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer secret\r\n"), "{request}");
    assert!(request.contains(r#""deadlineSeconds":8"#), "{request}");
}

#[test]
fn a_release_names_attempt_and_lease() {
    let (address, server) = server(Manner::Answer(204, String::new()));
    client(&[&address]).release(LONG).unwrap();
    let request = server.join().unwrap();
    let expected = "DELETE /v1/nodes/n1/attachments/c1/net1?attempt=a-1&lease=shop.blue-5 ";
    assert!(request.starts_with(expected), "{request}");
}

#[test]
fn credentials_are_asked_for_without_a_body() {
    let answer = r#"{"token": "node-token", "expiresInSeconds": 86400}"#;
    let (address, server) = server(Manner::Answer(200, answer.to_owned()));
    let credentials = client(&[&address]).resolver.credentials(Instant::now() + LONG).unwrap();
    assert_eq!((credentials.token.as_str(), credentials.expires_in_seconds), ("node-token", 86_400));
    let request = server.join().unwrap();
    assert!(request.starts_with("POST /v1/nodes/n1/credentials HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains("authorization: Bearer secret\r\n") && request.ends_with("\r\n\r\n"),
        "{request}"
    );
}

#[test]
fn an_inventory_is_put_whole() {
    let (address, server) = server(Manner::Answer(204, String::new()));
    let boot_id: BootId = "b".parse().unwrap();
    let inventory = Inventory {
        boot_id,
        agent_version: "1".to_owned(),
        plugin_version: None,
        underlay_address: None,
        interfaces: Vec::new(),
        delegates: Vec::new(),
        problems: Vec::new(),
    };
    client(&[&address]).resolver.inventory(&inventory, Instant::now() + LONG).unwrap();
    let request = server.join().unwrap();
    assert!(request.starts_with("PUT /v1/nodes/n1/inventory HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(&serde_json::to_string(&inventory).unwrap()), "{request}");
}

#[test]
fn the_next_endpoint_is_asked_where_one_does_not_serve() {
    let (broken, first) = server(Manner::Answer(503, "down".to_owned()));
    let (good, second) = server(Manner::Answer(204, String::new()));
    client(&[&nobody(), &broken, &good]).release(LONG).unwrap();
    first.join().unwrap();
    second.join().unwrap();
}

#[test]
fn a_refused_connection_has_done_nothing() {
    let error = client(&[&nobody()]).attach(LONG).unwrap_err();
    assert_eq!(error.outcome, Outcome::Nothing);
    assert_eq!(error.cause.code(), CniCode::TRY_AGAIN);
}

#[test]
fn an_attachment_is_asked_for_again_where_no_connection_came_about() {
    // What comes late may come too late.
    let found_again = || {
        let address = nobody();
        let place = address.trim_start_matches("http://").to_owned();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(150));
            let answer = r#"{"id": "d1", "leases": [], "plugins": []}"#;
            TcpListener::bind(place).map(|listener| serve(listener, Manner::Answer(200, answer.to_owned())))
        });
        client(&[&address]).attach(LONG).is_ok_and(|reply| reply.id.as_str() == "d1")
    };
    assert!((0..5).any(|_| found_again()), "one that is restarted is found");

    // Not beyond its time, and no release: that is told later.
    let took = || {
        let begun = Instant::now();
        client(&[&nobody()]).attach(Duration::from_millis(50)).unwrap_err();
        begun.elapsed()
    };
    let shortest = (0..5).map(|_| took()).min().unwrap();
    assert!(shortest < Duration::from_millis(600), "{shortest:?}");
}

#[rstest]
#[case::of_one_endpoint(1, 5)]
#[case::of_each_of_two(2, 3)]
fn connections_are_tried_several_times_in_the_time_of_a_question(
    #[case] endpoints: usize,
    #[case] tries: usize,
) {
    // Accepted by the kernel, and never a word: that is no connection either. Where one of two replicas is so, each try may
    // meet the other.
    let listeners: Vec<_> = (0..endpoints).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| format!("https://{}", listener.local_addr().unwrap()));
    let addresses: Vec<_> = addresses.collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let error = client(&addresses).attach(Duration::from_secs(10)).unwrap_err();
    assert_eq!(error.outcome, Outcome::Nothing, "{error}");
    assert!(error.to_string().contains("it accepts, but TLS"), "{error}");
    // Of a question's 8 s: the last one may take half of what the others leave. This one has more, or a busy machine's pauses would
    // count.
    let others: Duration = TRIES.iter().map(|&(connect, pause)| connect + pause).sum();
    assert!(others <= Duration::from_secs(6), "{others:?}");
    for listener in &listeners {
        listener.set_nonblocking(true).unwrap();
        let tried = listener.incoming().map_while(Result::ok).count();
        assert!(tried >= tries, "{tried} of {tries}");
    }
}

#[test]
fn what_is_not_answered_may_still_come_to_something() {
    for manner in [Manner::CloseUnanswered, Manner::Silent] {
        let (address, server) = server(manner);
        let begun = Instant::now();
        let error = client(&[&address]).attach(Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.outcome, Outcome::Pending, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        server.join().unwrap();
    }
}

#[test]
fn what_the_resolver_has_not_settled_may_still_come_to_something() {
    let unavailable = ProblemKind::Unavailable.problem("d", "the API server does not answer");
    let unsettled = Problem { unsettled: true, ..unavailable.clone() };
    let document = |problem| serde_json::to_string(&problem).unwrap();
    for (status, body, outcome) in [
        (503, document(unsettled), Outcome::Pending),
        (503, document(unavailable), Outcome::Perhaps),
        (504, "gateway time-out".to_owned(), Outcome::Pending),
    ] {
        let (address, server) = server(Manner::Answer(status, body));
        let error = client(&[&address]).attach(LONG).unwrap_err();
        assert_eq!(error.outcome, outcome, "{error}");
        server.join().unwrap();
    }
}

#[test]
fn one_endpoint_that_may_have_acted_counts_though_another_refused() {
    let (silent, server) = server(Manner::CloseUnanswered);
    let error = client(&[&silent, &nobody()]).attach(LONG).unwrap_err();
    assert_eq!(error.outcome, Outcome::Pending);
    server.join().unwrap();
}

#[test]
fn the_resolvers_words_and_code_are_kept() {
    let problem = ProblemKind::UnknownNetwork.problem("d7", "no network shop/blue; make it first");
    let (address, server) = server(Manner::Answer(404, serde_json::to_string(&problem).unwrap()));
    let error = client(&[&address, &nobody()]).attach(LONG).unwrap_err();
    assert_eq!(error.outcome, Outcome::Nothing);
    assert_eq!(error.cause.code(), CniCode::INVALID_CONFIG);
    assert_eq!(error.to_string(), "no network shop/blue; make it first (decision d7)");
    server.join().unwrap();
}

#[test]
fn a_refused_credential_names_node_and_file() {
    for (status, body, code) in [
        (401, String::new(), CniCode::TRY_AGAIN),
        (403, "<html>".to_owned(), CniCode::INVALID_CONFIG),
        (
            401,
            serde_json::to_string(&ProblemKind::Unauthorized.problem("d", "old")).unwrap(),
            CniCode::TRY_AGAIN,
        ),
    ] {
        let (address, server) = server(Manner::Answer(status, body));
        let client = client(&[&address]);
        let error = client.release(LONG).unwrap_err();
        assert_eq!(error.cause.code(), code);
        let message = error.to_string();
        let token_file = client.folder.path().join("token");
        assert!(message.contains("n1") && message.contains(token_file.to_str().unwrap()));
        server.join().unwrap();
    }
}

#[test]
fn what_is_no_resolver_is_named() {
    for (status, body) in [(200, "<html>"), (302, ""), (404, "not found")] {
        let (address, server) = server(Manner::Answer(status, body.to_owned()));
        let error = client(&[&address]).attach(LONG).unwrap_err();
        assert_eq!(error.outcome, Outcome::Perhaps);
        let message = error.to_string();
        assert!(message.contains(&address) && message.contains(&status.to_string()), "{message}");
        server.join().unwrap();
    }
}

#[test]
fn a_missing_token_is_named_and_nothing_is_sent() {
    let (address, _server) = server(Manner::Silent);
    let client = client(&[&address]);
    let token_file = client.folder.path().join("token");
    std::fs::remove_file(&token_file).unwrap();
    let error = client.release(LONG).unwrap_err();
    assert_eq!(error.outcome, Outcome::Nothing);
    assert!(error.to_string().contains(token_file.to_str().unwrap()), "{error}");
}

#[test]
fn a_missing_authority_is_named() {
    let nobody = ["https://127.0.0.1:1"];
    let missing = client_with(&nobody, |access, folder| access.ca_file = Some(folder.join("ca.pem")));
    let error = missing.release(LONG).unwrap_err().to_string();
    assert!(error.contains("ca.pem"), "{error}");
    let error = client(&nobody).release(LONG).unwrap_err();
    assert_eq!(error.outcome, Outcome::Nothing, "{error}");
}
