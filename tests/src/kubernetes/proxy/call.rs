//! What a request asks of the API server, in the words of its permissions: `create networkleases`.

use std::fmt;

use http::{Method, Uri};

/// One verb on one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    verb: &'static str,
    kind: String,
}

impl Call {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let mut segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let prefix = match segments.first() {
            Some(&"api") => 2,
            Some(&"apis") => 3,
            _ => 0,
        };
        segments.drain(..prefix.min(segments.len()));
        if segments.len() > 2 && segments[0] == "namespaces" {
            segments.drain(..2);
        }
        let is_named = segments.len() > 1;
        let query = uri.query().unwrap_or_default();
        let watches = query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1");
        let verb = match *method {
            Method::GET if watches => "watch",
            Method::GET if is_named => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            _ => "delete",
        };
        Self { verb, kind: segments.first().copied().unwrap_or_default().to_owned() }
    }

    pub(super) fn is_watch(&self) -> bool {
        self.verb == "watch"
    }

    /// Whether it is meant by `create networkleases`; `*` stands for every verb or every kind.
    pub(super) fn matches(&self, pattern: &str) -> bool {
        let (verb, kind) = pattern.split_once(' ').expect("a verb and a kind");
        (verb == "*" || verb == self.verb) && (kind == "*" || kind == self.kind)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named() {
        for (method, uri, name) in [
            (Method::GET, "/apis/knap.github.com/v1alpha1/networkleases?watch=true", "watch networkleases"),
            (Method::GET, "/apis/knap.github.com/v1alpha1/networkleases?limit=500", "list networkleases"),
            (Method::GET, "/apis/knap.github.com/v1alpha1/networkleases/shop.blue-5", "get networkleases"),
            (
                Method::PUT,
                "/apis/knap.github.com/v1alpha1/namespaces/shop/networks/blue/status",
                "update networks",
            ),
            (Method::POST, "/apis/knap.github.com/v1alpha1/namespaces/shop/networks", "create networks"),
            (Method::GET, "/api/v1/namespaces/shop", "get namespaces"),
            (Method::DELETE, "/api/v1/namespaces/shop/pods/a", "delete pods"),
            (Method::GET, "/readyz", "list readyz"),
        ] {
            assert_eq!(Call::of(&method, &uri.parse().unwrap()).to_string(), name, "{uri}");
        }
    }
}
