//! Moments, as Kubernetes writes them.

use k8s_openapi::jiff::Timestamp;

/// RFC 3339, in whole seconds.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment).to_string()
}
