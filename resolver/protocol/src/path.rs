//! Paths of the HTTP API, written once for both sides.

use crate::{AttachmentKey, Attempt, NodeName};

/// `GET`: is the resolver there and ready. The one path of these that needs no credential.
pub const STATUS: &str = "/v1/status";

/// `PUT` and `DELETE` of one attachment. Its parts are validated names and need no escaping, but for the
/// interface's, which may hold any byte that the kernel allows.
pub fn attachment(node: &NodeName, key: &AttachmentKey) -> String {
    format!("/v1/nodes/{node}/attachments/{}/{}", key.container_id, escape(key.ifname.as_str()))
}

/// `DELETE` with what makes it safe: the attempt, and its leases, comma-separated, where they are known.
pub fn release(node: &NodeName, key: &AttachmentKey, attempt: &Attempt, leases: &[String]) -> String {
    let path = attachment(node, key);
    if leases.is_empty() {
        return format!("{path}?attempt={attempt}");
    }
    let leases: Vec<String> = leases.iter().map(|lease| escape(lease)).collect();
    format!("{path}?attempt={attempt}&lease={}", leases.join(","))
}

/// `POST` of the node's whole ledger.
pub fn reconcile(node: &NodeName) -> String {
    format!("/v1/nodes/{node}/attachments:reconcile")
}

/// `PUT` of what the node has.
pub fn inventory(node: &NodeName) -> String {
    format!("/v1/nodes/{node}/inventory")
}

/// `POST` by the node's agent, for the token of all other calls.
pub fn credentials(node: &NodeName) -> String {
    format!("/v1/nodes/{node}/credentials")
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_names_attempt_and_lease() {
        let node: NodeName = "n1".parse().unwrap();
        let key = AttachmentKey { container_id: "c1".parse().unwrap(), ifname: "net?1".parse().unwrap() };
        let attempt: Attempt = "a-1".parse().unwrap();
        assert_eq!(
            release(&node, &key, &attempt, &["shop.blue-5".into(), "shop.blue-9".into()]),
            "/v1/nodes/n1/attachments/c1/net%3F1?attempt=a-1&lease=shop.blue-5,shop.blue-9"
        );
        assert_eq!(release(&node, &key, &attempt, &[]), "/v1/nodes/n1/attachments/c1/net%3F1?attempt=a-1");
    }
}
