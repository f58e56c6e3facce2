//! Links that the plugin keeps on the host for as long as an attachment uses them.

use serde::{Deserialize, Serialize};

use crate::InterfaceName;

/// One link that must exist on the host. The plugin makes it, marks it as its own, and removes it with the last user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostLink {
    /// What it is.
    pub kind: HostLinkKind,
    /// Its name on the host, `kn1f2e`.
    pub name: InterfaceName,
    /// UID of the Network that it belongs to; written into the link's ifalias as `knap:<uid>`.
    pub owner: String,
    /// Bytes; the kernel's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// For a bridge: an existing link that becomes its port, the way out of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<InterfaceName>,
}

/// Kinds of host links. One that this version does not know is refused with its name, not misread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum HostLinkKind {
    /// A Linux bridge.
    Bridge,
    /// Anything else: a later version's kind.
    Unknown(String),
}

impl From<String> for HostLinkKind {
    fn from(kind: String) -> Self {
        match kind.as_str() {
            "bridge" => Self::Bridge,
            _ => Self::Unknown(kind),
        }
    }
}

impl From<HostLinkKind> for String {
    fn from(kind: HostLinkKind) -> Self {
        match kind {
            HostLinkKind::Bridge => "bridge".to_owned(),
            HostLinkKind::Unknown(kind) => kind,
        }
    }
}
