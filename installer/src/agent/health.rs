//! `/healthz` and `/readyz`, for probes of the kubelet and for people.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::node::Node;

/// A request that takes longer is not a probe's.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests at once. Every process of the host's network can ask; what holds them all must not keep the kubelet from it, so that the
/// oldest goes when another one comes.
const AT_ONCE: usize = 32;
/// No request line of a probe is longer. Bytes.
const LONGEST_LINE: u64 = 1024;
/// All that is read of a request. Bytes.
const LARGEST_REQUEST: u64 = 8192;
/// The look at the host's files that takes longer than this has hung: a mount, say.
const LONGEST_LOOK: Duration = Duration::from_secs(300);

/// Nothing can be served there.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't serve /readyz on {address}: {source}; another agent may run on this node, or name another --health-address"
)]
pub(crate) struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Takes the address.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).map_err(|source| ListenError { address, source })
}

/// Answers requests, as long as the process lives.
pub(crate) fn serve(listener: &TcpListener, node: &Node) {
    let asking = Asking::default();
    thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            let (stream, asking) = (Arc::new(stream), &asking);
            asking.came(&stream);
            let asked = Arc::clone(&stream);
            let answered = thread::Builder::new().name("probe".to_owned()).spawn_scoped(scope, move || {
                // Whoever asked has gone; the next one may not have.
                let _ = answer(&asked, &|path| reply(path, node));
                asking.went(&asked);
            });
            if answered.is_err() {
                asking.went(&stream);
            }
        }
    });
}

/// Who has not been answered yet, the oldest first.
#[derive(Debug, Default)]
struct Asking(Mutex<VecDeque<Arc<TcpStream>>>);

impl Asking {
    /// Somebody asks; where there are [`AT_ONCE`] already, the oldest of them is waited for no more.
    fn came(&self, stream: &Arc<TcpStream>) {
        let mut asking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asking.len() >= AT_ONCE
            && let Some(oldest) = asking.pop_front()
        {
            // It may have gone by itself.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        asking.push_back(Arc::clone(stream));
    }

    fn went(&self, stream: &Arc<TcpStream>) {
        let mut asking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asking.retain(|other| !Arc::ptr_eq(other, stream));
    }
}

/// Status and text for a path.
fn reply(path: &str, node: &Node) -> (&'static str, String) {
    match path {
        "/healthz" => health(node),
        "/readyz" => {
            let report = node.board.report();
            (if report.ready { "200 OK" } else { "503 Service Unavailable" }, report.text)
        }
        _ => ("404 Not Found", "there are /healthz and /readyz here\n".to_owned()),
    }
}

fn answer(mut stream: &TcpStream, reply: &dyn Fn(&str) -> (&'static str, String)) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = Request { stream, end: Instant::now() + PATIENCE };
    let mut reader = BufReader::new(request.take(LARGEST_REQUEST));
    let mut line = String::new();
    (&mut reader).take(LONGEST_LINE).read_line(&mut line)?;
    // Read to its end, or closing would look like an error to who asked.
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = line.split(' ').nth(1).unwrap_or_default();
    let (status, text) = reply(path.split('?').next().unwrap_or_default());
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}

pub(super) fn health(node: &Node) -> (&'static str, String) {
    let silent = node.clock.since_boot().saturating_sub(node.last_look());
    if silent < LONGEST_LOOK {
        ("200 OK", "ok\n".to_owned())
    } else {
        let text = format!("no look at the host's files for {} s: one hangs\n", silent.as_secs());
        ("500 Internal Server Error", text)
    }
}

/// What is read of a request, in all of its time: a byte now and then does not prolong it.
struct Request<'a> {
    stream: &'a TcpStream,
    end: Instant,
}

impl Read for Request<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::clock::SetClock;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asking = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (asking, listener.accept().unwrap().0)
    }

    fn ready(path: &str) -> (&'static str, String) {
        ("200 OK", format!("{path}\n"))
    }

    #[test]
    fn a_probe_is_answered() {
        let (mut asking, asked) = pair();
        asking.write_all(b"GET /readyz?verbose HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        answer(&asked, &ready).unwrap();
        drop(asked);
        let mut answered = String::new();
        asking.read_to_string(&mut answered).unwrap();
        assert!(answered.starts_with("HTTP/1.1 200 OK\r\n") && answered.ends_with("/readyz\n"), "{answered}");
    }

    #[test]
    fn a_byte_now_and_then_does_not_hold_it_up() {
        let (mut asking, asked) = pair();
        let begin = Instant::now();
        thread::scope(|scope| {
            scope.spawn(move || {
                // Ends when the other end is closed.
                while begin.elapsed() < 15 * PATIENCE && asking.write_all(b"x").is_ok() {
                    thread::sleep(PATIENCE / 10);
                }
            });
            answer(&asked, &ready).unwrap_err();
            drop(asked);
        });
        assert!(begin.elapsed() < 10 * PATIENCE, "{:?}", begin.elapsed());
    }

    #[test]
    fn a_look_that_hangs_is_told_and_time_that_jumps_heals_with_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        let clock = SetClock::default();
        let node = Node::for_tests(folder.path(), &clock);
        clock.set(LONGEST_LOOK / 2);
        assert_eq!(health(&node).0, "200 OK");
        clock.set(LONGEST_LOOK * 3);
        let (status, text) = health(&node);
        assert!(status.starts_with("500") && text.contains("900 s"), "{status} {text}");
        node.looked();
        assert_eq!(health(&node).0, "200 OK");
        clock.set(Duration::ZERO);
        assert_eq!(health(&node).0, "200 OK", "back");
    }
}
