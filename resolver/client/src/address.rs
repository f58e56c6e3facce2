//! From an endpoint to an address to connect to.

use std::net::{IpAddr, SocketAddr};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Takes an address as it is, and looks up only what is a name. To be able to give up on a lookup, ureq makes a thread
/// for it, which would cost each call as much as its connection does.
#[derive(Debug, Default)]
pub(crate) struct AddressFirst {
    names: DefaultResolver,
}

impl Resolver for AddressFirst {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let Some(address) = address_in(uri) else { return self.names.resolve(uri, config, timeout) };
        let mut addresses = self.empty();
        addresses.push(address);
        Ok(addresses)
    }
}

fn address_in(uri: &Uri) -> Option<SocketAddr> {
    let host = uri.host()?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address: IpAddr = host.parse().ok()?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("http://127.0.0.1:4180/v1/status", Some("127.0.0.1:4180"))]
    #[case("https://10.96.7.7/v1", Some("10.96.7.7:443"))]
    #[case("http://[::1]/v1", Some("[::1]:80"))]
    #[case("https://[fd00::7]:8443/v1", Some("[fd00::7]:8443"))]
    #[case("https://resolver.example/v1", None)]
    #[case("https://10.96.7/v1", None)]
    fn addresses_are_told_from_names(#[case] uri: &str, #[case] expected: Option<&str>) {
        assert_eq!(address_in(&uri.parse().unwrap()), expected.map(|text| text.parse().unwrap()));
    }
}
