//! One address of the resolver.

use std::net::IpAddr;

use ureq::http::Uri;

/// An address that can't be called.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// No URL of ours.
    #[error("resolver endpoint {0:?} is not https://<address>[:<port>]")]
    Malformed(String),
    /// The token would cross the network in the clear.
    #[error(
        "resolver endpoint {0:?}: http:// is accepted for a loopback address only (127.0.0.1 or [::1]); use https://"
    )]
    PlainText(String),
}

/// An address of the resolver, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
    tls: bool,
}

impl Endpoint {
    /// `https://10.96.7.7:443`, or `http://` with a loopback address.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
        let bare = !uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || !bare {
            return Err(malformed());
        }
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if address.is_ok_and(|address| address.is_loopback()) => false,
            Some("http") => return Err(EndpointError::PlainText(text.to_owned())),
            _ => return Err(malformed()),
        };
        Ok(Self { base: text.trim_end_matches('/').to_owned(), tls })
    }

    /// Whether it is called over TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// As the node file has it.
    pub fn as_str(&self) -> &str {
        &self.base
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://10.96.7.7:443", true)]
    #[case("https://[fd00::7]/", true)]
    #[case("https://resolver.example", true)]
    #[case("http://127.0.0.1:4180", false)]
    #[case("http://[::1]:4180", false)]
    fn a_good_endpoint(#[case] text: &str, #[case] tls: bool) {
        let endpoint = Endpoint::parse(text).unwrap();
        assert_eq!(endpoint.tls(), tls);
        assert_eq!(endpoint.url("/v1/status"), format!("{}/v1/status", text.trim_end_matches('/')));
    }

    #[rstest]
    #[case("http://10.96.7.7:80")]
    #[case("http://localhost:80")]
    #[case("http://127.0.0.1@192.0.2.1/")]
    #[case("ftp://127.0.0.1")]
    #[case("resolver")]
    #[case("https://10.96.7.7/prefix")]
    #[case("")]
    fn a_bad_endpoint(#[case] text: &str) {
        assert!(Endpoint::parse(text).unwrap_err().to_string().contains(text));
    }
}
