//! A resolver that gives tokens to whom it should, takes inventories, and does what it is told besides.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

/// What the agent's pod has to show.
pub(crate) const SERVICE_ACCOUNT_TOKEN: &str = "token-of-the-pod";

#[derive(Debug)]
struct State {
    gives_tokens: bool,
    given: usize,
    revoked: bool,
    lifetime: u64,
    inventories: Vec<Value>,
}

/// The resolver. Its thread ends with the test's process.
#[derive(Debug)]
pub(crate) struct Resolver {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Resolver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state =
            State { gives_tokens: true, given: 0, revoked: false, lifetime: 86_400, inventories: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&stream, &mut shared.lock().unwrap());
            }
        });
        Self { endpoint, state }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether it has a token for who asks.
    pub(crate) fn gives_tokens(&self, gives: bool) {
        self.state().gives_tokens = gives;
    }

    /// How long the tokens are good for that it gives from now on. Seconds.
    pub(crate) fn lifetime(&self, seconds: u64) {
        self.state().lifetime = seconds;
    }

    /// Refuses the token that was given last.
    pub(crate) fn revoke(&self) {
        self.state().revoked = true;
    }

    /// How many tokens it has given.
    pub(crate) fn given(&self) -> usize {
        self.state().given
    }

    /// The inventories that it has taken.
    pub(crate) fn inventories(&self) -> Vec<Value> {
        self.state().inventories.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn answer(mut stream: &TcpStream, state: &mut State) {
    let Some((head, body)) = read(stream) else { return };
    let bearer = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or("");
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (status, answer) = match path {
        "/v1/nodes/n1/credentials" if bearer != SERVICE_ACCOUNT_TOKEN => problem(401, "who are you"),
        "/v1/nodes/n1/credentials" if !state.gives_tokens => problem(503, "the API server is away"),
        "/v1/nodes/n1/credentials" => {
            (state.given, state.revoked) = (state.given + 1, false);
            let token = format!("node-token-{}", state.given);
            (200, json!({"token": token, "expiresInSeconds": state.lifetime}))
        }
        "/v1/nodes/n1/inventory" if state.revoked || bearer != format!("node-token-{}", state.given) => {
            problem(401, "this token is none of ours")
        }
        "/v1/nodes/n1/inventory" => {
            state.inventories.push(serde_json::from_slice(&body).unwrap());
            (200, json!({}))
        }
        _ => problem(404, "there is nothing here"),
    };
    let body = answer.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

fn problem(status: u16, detail: &str) -> (u16, Value) {
    (status, json!({"status": status, "detail": detail, "cniCode": 11, "retryable": true}))
}

fn read(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}
