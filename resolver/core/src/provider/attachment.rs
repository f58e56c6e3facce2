//! Attachment: what a provider answers for one interface, checked as strictly as what a user writes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::JsonObject;
use crate::plan::is_interface_name;

#[cfg(test)]
mod tests;

/// Our own name as a plugin.
pub(super) const KNAP: &str = "knap";
/// Plugins that would run us again.
const NEVER_DELEGATES: [&str; 3] = [KNAP, "multus", "multus-shim"];
/// What the names of our links begin with.
const LINK_PREFIX: &str = "kn";

/// What to run for one attachment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Delegate configurations, in the order of their ADD.
    pub plugins: Vec<JsonObject>,
    /// Links that must exist on the host before the first delegate runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_links: Vec<HostLink>,
    /// Bytes, where the configurations set it; absent where it is left to the uplink or the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// A link on the host, kept for as long as an attachment uses it (design: the CNI plugin, host links).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostLink {
    /// What it is.
    pub kind: HostLinkKind,
    /// Its name, which begins with `kn`.
    pub name: String,
    /// UID of the Network that it belongs to.
    pub owner: String,
    /// Bytes; the kernel's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Of a bridge: an existing link that becomes its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
}

/// Kinds of host links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostLinkKind {
    /// A Linux bridge.
    Bridge,
}

/// An attachment that must not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// There is nothing to run.
    #[error("the provider's answer has no plugin")]
    NoPlugin,
    /// A configuration without a type that could be run.
    #[error("plugin {position} of the provider's answer has no type")]
    NoType {
        /// Counted from 1.
        position: usize,
    },
    /// A type that is a path, or that would run us again.
    #[error(
        "plugin {position} of the provider's answer has type {name:?}, which can't be a delegate: name a CNI plugin \
         other than knap and multus, without a path"
    )]
    ForbiddenType {
        /// Counted from 1.
        position: usize,
        /// The type.
        name: String,
    },
    /// An IPAM plugin by a path.
    #[error(
        "plugin {position} of the provider's answer has ipam type {name:?}, which can't be run: name a CNI plugin"
    )]
    ForbiddenIpam {
        /// Counted from 1.
        position: usize,
        /// The type.
        name: String,
    },
    /// A key whose shape is fixed, in another shape.
    #[error("plugin {position} of the provider's answer has {key:?} in another shape than CNI's: {expected}")]
    Shape {
        /// Counted from 1.
        position: usize,
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A host link under a name that is not ours to make.
    #[error(
        "host link {name:?} of the provider's answer can't be made: names begin with kn and have 15 bytes at most"
    )]
    LinkName {
        /// The name.
        name: String,
    },
    /// The same host link twice.
    #[error("host link {name:?} is in the provider's answer twice")]
    LinkTwice {
        /// The name.
        name: String,
    },
    /// A host link of nobody.
    #[error("host link {name:?} of the provider's answer has no owner: give the Network's UID")]
    LinkOwner {
        /// The name.
        name: String,
    },
    /// A port that can't be.
    #[error(
        "host link {name:?} of the provider's answer has uplink {uplink:?}, which can't be an interface's name"
    )]
    LinkUplink {
        /// The name.
        name: String,
        /// The uplink.
        uplink: String,
    },
    /// A size that links can't have.
    #[error("the provider's answer has MTU {mtu}, outside 68 to 65535")]
    Mtu {
        /// Bytes.
        mtu: u32,
    },
}

impl Attachment {
    /// Refuses what must not be run, whoever made it: external providers answer it as JSON.
    pub fn check(&self) -> Result<(), AttachmentError> {
        if self.plugins.is_empty() {
            return Err(AttachmentError::NoPlugin);
        }
        for (index, plugin) in self.plugins.iter().enumerate() {
            check_plugin(index + 1, plugin)?;
        }
        for (index, link) in self.host_links.iter().enumerate() {
            link.check()?;
            if self.host_links.iter().take(index).any(|earlier| earlier.name == link.name) {
                return Err(AttachmentError::LinkTwice { name: link.name.clone() });
            }
        }
        self.mtu.map_or(Ok(()), check_mtu)
    }
}

impl HostLink {
    fn check(&self) -> Result<(), AttachmentError> {
        let name = self.name.clone();
        if !(name.len() > LINK_PREFIX.len() && name.starts_with(LINK_PREFIX) && is_interface_name(&name)) {
            return Err(AttachmentError::LinkName { name });
        }
        if self.owner.is_empty() {
            return Err(AttachmentError::LinkOwner { name });
        }
        if let Some(uplink) = self.uplink.as_ref().filter(|uplink| !is_interface_name(uplink)) {
            return Err(AttachmentError::LinkUplink { name, uplink: uplink.clone() });
        }
        self.mtu.map_or(Ok(()), check_mtu)
    }
}

/// Checks one plugin's configuration; `position` counts from 1.
pub(super) fn check_plugin(position: usize, plugin: &JsonObject) -> Result<(), AttachmentError> {
    let Some(Value::String(name)) = plugin.get("type") else {
        return Err(AttachmentError::NoType { position });
    };
    if !is_plugin_name(name) || NEVER_DELEGATES.contains(&name.as_str()) {
        return Err(AttachmentError::ForbiddenType { position, name: name.clone() });
    }
    check_ipam(position, plugin.get("ipam"))?;
    match plugin.get("capabilities") {
        None => Ok(()),
        Some(Value::Object(capabilities)) if capabilities.values().all(Value::is_boolean) => Ok(()),
        Some(_) => {
            Err(AttachmentError::Shape { position, key: "capabilities", expected: "an object of booleans" })
        }
    }
}

fn check_ipam(position: usize, ipam: Option<&Value>) -> Result<(), AttachmentError> {
    let name = match ipam {
        None => return Ok(()),
        Some(Value::Object(ipam)) => ipam.get("type"),
        Some(_) => {
            return Err(AttachmentError::Shape { position, key: "ipam", expected: "an object" });
        }
    };
    match name {
        None => Ok(()),
        // Knap answers as IPAM plugin without asking anybody, so here its name is no loop.
        Some(Value::String(name)) if name == KNAP => Ok(()),
        Some(Value::String(name)) if is_plugin_name(name) && !NEVER_DELEGATES.contains(&name.as_str()) => {
            Ok(())
        }
        Some(Value::String(name)) => Err(AttachmentError::ForbiddenIpam { position, name: name.clone() }),
        Some(_) => {
            Err(AttachmentError::Shape { position, key: "ipam", expected: "an object whose type is a name" })
        }
    }
}

/// A file in CNI_PATH, and nothing outside it.
fn is_plugin_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

const fn check_mtu(mtu: u32) -> Result<(), AttachmentError> {
    if mtu < 68 || mtu > 65_535 { Err(AttachmentError::Mtu { mtu }) } else { Ok(()) }
}
