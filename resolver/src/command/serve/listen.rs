//! Where requests are taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use nix::errno::Errno;
use nix::sys::socket::{self, Backlog};

/// Listens. `[::]` is every address of the machine, those of IPv4 too.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).or_else(|error| match without_ipv6(address, &error) {
        Some(every) => TcpListener::bind(every),
        None => Err(error),
    })?;
    // The library lets 128 wait. A burst of pods on many nodes is more, and who finds no place tries again after a second.
    socket::listen(&listener, Backlog::MAXCONN)?;
    Ok(listener)
}

/// Every address of a machine whose kernel has no IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let unknown = error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32);
    (unknown && address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        .then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_address_is_of_both_families() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port())).unwrap();
    }

    #[test]
    fn a_burst_of_connections_finds_places() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let most: usize =
            std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(900)).unwrap();
        let waiting: Vec<TcpStream> = (0..most.min(400)).map(connect).collect();
        assert!(!waiting.is_empty());
    }

    #[test]
    fn a_kernel_without_ipv6_has_only_the_other() {
        let unknown = io::Error::from(Errno::EAFNOSUPPORT);
        let every = without_ipv6("[::]:4180".parse().unwrap(), &unknown);
        assert_eq!(every, Some("0.0.0.0:4180".parse().unwrap()));
        assert_eq!(without_ipv6("[fd00::1]:4180".parse().unwrap(), &unknown), None);
        assert_eq!(without_ipv6("[::]:4180".parse().unwrap(), &io::Error::from(Errno::EADDRINUSE)), None);
    }
}
