//! Where requests are taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use nix::errno::Errno;

/// Listens. `[::]` is every address of the machine, those of IPv4 too.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).or_else(|error| match without_ipv6(address, &error) {
        Some(every) => TcpListener::bind(every),
        None => Err(error),
    })
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

    use super::*;

    #[test]
    fn every_address_is_of_both_families() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port())).unwrap();
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
