//! A proxy before the resolver that writes down each request, and misbehaves when told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;

use crate::{Host, PORT};

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// It goes to the resolver and its answer comes back.
    Forward,
    /// It goes to the resolver; the answer is lost.
    LoseAnswer,
    /// Nobody answers, and the connection stays open.
    Hang,
    /// The connection is closed.
    Close,
    /// This status, media type and body are the answer.
    Answer(u16, &'static str, String),
    /// It goes to the resolver, and so does the answer, after so many milliseconds.
    Slow(u64),
}

/// One request as the plugin sent it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// `PUT`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body; null where it has none.
    pub body: Value,
}

impl Exchange {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
struct State {
    /// By method, and a part of the path; the last that fits counts.
    behaviour: Vec<(String, String, Behaviour)>,
    exchanges: Vec<Exchange>,
    held_open: Vec<TcpStream>,
}

/// The proxy. Its threads end with the test's process.
#[derive(Debug, Clone)]
pub struct Wire {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Wire {
    /// Starts it on the host's loopback and points the plugin to it.
    pub fn tap(host: &Host) -> Self {
        let state = State { behaviour: Vec::new(), exchanges: Vec::new(), held_open: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let address = host.machine().enter(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the proxy");
            let address = listener.local_addr().expect("the proxy's address");
            // Threads started here live in the host's network namespace, as their sockets do.
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || serve(stream, &shared));
                }
            });
            address
        });
        host.use_endpoint(&format!("http://{address}"));
        Self { address, state }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, requests of this method (`PUT`, or `*` for all) are treated so.
    pub fn on(&self, method: &str, behaviour: Behaviour) {
        self.on_path(method, "", behaviour);
    }

    /// The same for those requests alone whose path has this part.
    pub fn on_path(&self, method: &str, part: &str, behaviour: Behaviour) {
        let mut state = self.lock();
        state.behaviour.retain(|(known, of, _)| (known.as_str(), of.as_str()) != (method, part));
        state.behaviour.push((method.to_owned(), part.to_owned(), behaviour));
    }

    /// All requests so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.lock().exchanges.clone()
    }

    /// The requests so far by method: `["PUT", "DELETE"]`.
    pub fn methods(&self) -> Vec<String> {
        self.lock().exchanges.iter().map(|exchange| exchange.method.clone()).collect()
    }

    /// The only request of this method.
    pub fn the(&self, method: &str) -> Exchange {
        let found: Vec<Exchange> =
            self.exchanges().into_iter().filter(|exchange| exchange.method == method).collect();
        assert_eq!(found.len(), 1, "{method} among {:?}", self.methods());
        found.into_iter().next().expect("one request")
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.lock().exchanges.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the proxy's state")
    }
}

/// One connection, and one request on it: every answer says `connection: close`.
fn serve(mut stream: TcpStream, shared: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let Some((head, exchange, body)) = read_request(&mut reader) else { return };
    let behaviour = {
        let mut state = shared.lock().expect("the proxy's state");
        let told = state.behaviour.iter().rev().find(|(method, part, _)| {
            (*method == exchange.method || method == "*") && exchange.path.contains(part)
        });
        let behaviour = told.map_or(Behaviour::Forward, |(_, _, behaviour)| behaviour.clone());
        state.exchanges.push(exchange);
        behaviour
    };
    let answer = match behaviour {
        Behaviour::Forward => forward(&head, &body),
        Behaviour::Slow(milliseconds) => {
            std::thread::sleep(Duration::from_millis(milliseconds));
            forward(&head, &body)
        }
        Behaviour::Answer(status, media_type, text) => Some(answer(status, media_type, &text)),
        Behaviour::Close => None,
        Behaviour::LoseAnswer => {
            forward(&head, &body);
            None
        }
        Behaviour::Hang => {
            shared.lock().expect("the proxy's state").held_open.push(stream);
            return;
        }
    };
    if let Some(answer) = answer {
        // The plugin may have given up already.
        let _ = stream.write_all(&answer);
    }
}

fn answer(status: u16, media_type: &str, text: &str) -> Vec<u8> {
    let length = text.len();
    format!(
        "HTTP/1.1 {status} Told\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
    )
    .into_bytes()
}

/// Reads one request: its head with `connection: close` instead of what it said, its record, its body.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Exchange, Vec<u8>)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut head, mut headers, mut length) = (first.clone(), Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().ok()?;
        }
        if name != "connection" {
            head.push_str(&line);
        }
        headers.push((name, value));
    }
    head.push_str("connection: close\r\n\r\n");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let exchange =
        Exchange { method, path, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) };
    Some((head, exchange, body))
}

/// The resolver's whole answer; nothing where the resolver is away.
fn forward(head: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut resolver = TcpStream::connect(("127.0.0.1", PORT)).ok()?;
    resolver.write_all(head.as_bytes()).ok()?;
    resolver.write_all(body).ok()?;
    let mut answer = Vec::new();
    resolver.read_to_end(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}
