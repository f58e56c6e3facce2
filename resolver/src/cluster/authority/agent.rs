//! The service account that nodes' agents run as.

use std::fmt;
use std::str::FromStr;

/// Its name where nothing else is given, in the resolver's own namespace.
const DEFAULT_NAME: &str = "knap-node";

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentAccount {
    namespace: String,
    name: String,
}

/// What is no service account's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a namespace and a service account, as in knap-system/knap-node")]
pub struct NotAnAccount;

impl AgentAccount {
    /// The one that a manifest of Knap makes.
    pub(crate) fn default_in(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: DEFAULT_NAME.to_owned() }
    }

    /// By which Kubernetes authenticates it.
    pub(super) fn username(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// Where its pods are.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl fmt::Display for AgentAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for AgentAccount {
    type Err = NotAnAccount;

    fn from_str(text: &str) -> Result<Self, NotAnAccount> {
        let is_name = |name: &str| {
            let allowed =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
            !name.is_empty() && name.bytes().all(allowed)
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(NotAnAccount),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_a_namespace_and_a_name() {
        let account: AgentAccount = "knap-system/knap-node".parse().unwrap();
        assert_eq!(account, AgentAccount::default_in("knap-system"));
        assert_eq!(account.username(), "system:serviceaccount:knap-system:knap-node");
        for wrong in
            ["", "knap-node", "/knap-node", "knap-system/", "a/b/c", "a/B", "system:serviceaccount:a:b"]
        {
            assert_eq!(wrong.parse::<AgentAccount>(), Err(NotAnAccount), "{wrong}");
        }
    }
}
