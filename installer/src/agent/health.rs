//! `/healthz` and `/readyz`, for probes of the kubelet and for people.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::node::Node;

/// A request that takes longer is not a probe's.
const PATIENCE: Duration = Duration::from_secs(2);
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
    source: std::io::Error,
}

/// Takes the address.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).map_err(|source| ListenError { address, source })
}

/// Answers one request after the other, as long as the process lives.
pub(crate) fn serve(listener: &TcpListener, node: &Node) {
    for stream in listener.incoming().flatten() {
        // Whoever asked has gone; the next one may not have.
        let _ = answer(&stream, node);
    }
}

fn answer(mut stream: &TcpStream, node: &Node) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(LARGEST_REQUEST));
    let mut line = String::new();
    (&mut reader).take(LONGEST_LINE).read_line(&mut line)?;
    // Read to its end, or closing would look like an error to who asked.
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = line.split(' ').nth(1).unwrap_or_default();
    let (status, text) = match path.split('?').next().unwrap_or_default() {
        "/healthz" => health(node),
        "/readyz" => {
            let report = node.board.report();
            (if report.ready { "200 OK" } else { "503 Service Unavailable" }, report.text)
        }
        _ => ("404 Not Found", "there are /healthz and /readyz here\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}

fn health(node: &Node) -> (&'static str, String) {
    let silent = node.clock.since_boot().saturating_sub(node.last_look());
    if silent < LONGEST_LOOK {
        ("200 OK", "ok\n".to_owned())
    } else {
        let text = format!("no look at the host's files for {} s: one hangs\n", silent.as_secs());
        ("500 Internal Server Error", text)
    }
}
