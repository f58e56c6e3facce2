//! Names, parsed once: later code never looks at a raw string again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that its rule does not allow. The message carries the value and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} {value:?}: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    value: String,
    rule: &'static str,
}

/// Declares a validated string type: its serde form is the string, checked on the way in.
macro_rules! validated_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(value: String) -> Result<Self, InvalidName> {
                if $check(&value) { Ok(Self(value)) } else { Err(InvalidName { kind: $kind, value, rule: $rule }) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(value: &str) -> Result<Self, InvalidName> {
                Self::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

validated_name!(
    /// CNI_CONTAINERID (CNI specification 1.1.0, section 2).
    ContainerId, "container ID", is_cni_identifier,
    "must start with a letter or digit, continue with letters, digits, '_', '.' or '-', and have 253 bytes at most"
);
validated_name!(
    /// CNI_IFNAME: an interface's name inside the sandbox, as the kernel allows it.
    InterfaceName, "interface name", is_interface_name,
    "must have 1 to 15 bytes, be neither '.' nor '..', and hold no '/', ':' or white space"
);
validated_name!(
    /// A node's name: a DNS subdomain, as Kubernetes has it.
    NodeName, "node name", is_dns_subdomain,
    "must be a DNS subdomain: lower-case letters, digits, '-' and '.', 253 bytes at most"
);
validated_name!(
    /// One ADD, named by the plugin. Who holds this name holds the lease (see `AttachRequest`).
    Attempt, "attempt", is_token, "must have 1 to 64 letters, digits or '-'"
);
validated_name!(
    /// One boot of one machine: `/proc/sys/kernel/random/boot_id`.
    BootId, "boot ID", is_token, "must have 1 to 64 letters, digits or '-'"
);

/// A Network's name with its namespace, written `shop/blue`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName {
    namespace: String,
    name: String,
}

impl NetworkName {
    /// Both parts must be DNS labels of 63 bytes at most.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        if is_dns_label(namespace) && is_dns_label(name) {
            Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
        } else {
            Err(InvalidName {
                kind: "network",
                value: format!("{namespace}/{name}"),
                rule: "must be <namespace>/<name>, both lower-case letters, digits and '-', 63 bytes at most",
            })
        }
    }

    /// The namespace, `shop` in `shop/blue`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name inside the namespace, `blue` in `shop/blue`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `shop.blue`: the name that CNI configurations and leases carry, where a slash can't stand.
    pub fn dotted(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }
}

impl TryFrom<String> for NetworkName {
    type Error = InvalidName;

    fn try_from(value: String) -> Result<Self, InvalidName> {
        value.parse()
    }
}

impl FromStr for NetworkName {
    type Err = InvalidName;

    fn from_str(value: &str) -> Result<Self, InvalidName> {
        let (namespace, name) = value.split_once('/').unwrap_or(("", value));
        Self::new(namespace, name)
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> String {
        name.to_string()
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

fn is_cni_identifier(value: &str) -> bool {
    value.len() <= 253
        && value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_interface_name(value: &str) -> bool {
    (1..=15).contains(&value.len())
        && value != "."
        && value != ".."
        && !value.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

fn is_token(value: &str) -> bool {
    (1..=64).contains(&value.len()) && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn is_dns_label(value: &str) -> bool {
    (1..=63).contains(&value.len())
        && !value.starts_with('-')
        && !value.ends_with('-')
        && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_dns_subdomain(value: &str) -> bool {
    value.len() <= 253 && value.split('.').all(is_dns_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_name_has_two_labels() {
        let name: NetworkName = "shop/blue".parse().unwrap();
        assert_eq!((name.namespace(), name.name(), name.dotted().as_str()), ("shop", "blue", "shop.blue"));
        for wrong in ["blue", "/blue", "shop/", "shop/blue/x", "Shop/blue", "shop/blue.x", "shop/-b", ""] {
            assert!(wrong.parse::<NetworkName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn identifiers_follow_the_cni_specification() {
        for right in ["a", "0f-1_2.3", &"a".repeat(253)] {
            assert!(right.parse::<ContainerId>().is_ok(), "{right:?}");
        }
        for wrong in ["", "-a", ".a", "a/b", "a b", "é", &"a".repeat(254)] {
            assert!(wrong.parse::<ContainerId>().is_err(), "{wrong:?}");
        }
        for right in ["net1", "pod37a8eec1ce1", "a-b.c_d", &"i".repeat(15)] {
            assert!(right.parse::<InterfaceName>().is_ok(), "{right:?}");
        }
        for wrong in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", &"i".repeat(16)] {
            assert!(wrong.parse::<InterfaceName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_name_is_checked_when_it_is_read() {
        let error = serde_json::from_str::<NetworkName>(r#""SHOP/blue""#).unwrap_err().to_string();
        assert!(error.contains("SHOP/blue") && error.contains("<namespace>/<name>"), "{error}");
        assert_eq!(
            serde_json::to_string(&"shop/blue".parse::<NetworkName>().unwrap()).unwrap(),
            r#""shop/blue""#
        );
    }
}
