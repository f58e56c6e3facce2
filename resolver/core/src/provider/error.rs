//! What providers refuse.

use serde_json::Value;

use super::AttachmentError;
use crate::PlanError;

/// A class, a plan or a node that a provider can't work with. Messages are put after the class's name.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProviderError {
    /// A parameter that it does not know.
    #[error("provider {provider} has no parameter {parameter:?}: remove it (known: {})", .known.join(", "))]
    UnknownParameter {
        /// The provider.
        provider: &'static str,
        /// What was written.
        parameter: String,
        /// What can be.
        known: Vec<&'static str>,
    },
    /// A parameter that it knows, with a value that it does not.
    #[error("parameter {parameter:?} of provider {provider} can't be {value}: it must be {expected}")]
    InvalidParameter {
        /// The provider.
        provider: &'static str,
        /// The parameter.
        parameter: String,
        /// What was written.
        value: Value,
        /// What can be.
        expected: String,
    },
    /// Parts of a class that exclude each other.
    #[error("{what}: {remedy}")]
    Contradiction {
        /// What does not go together.
        what: String,
        /// What to change.
        remedy: &'static str,
    },
    /// A part of a class that the provider can't do without.
    #[error("provider {provider} needs {field}: {remedy}")]
    Missing {
        /// The provider.
        provider: &'static str,
        /// The field under `spec`.
        field: &'static str,
        /// What to write there.
        remedy: &'static str,
    },
    /// A part of a class that the provider can't use.
    #[error("provider {provider} can't use {field} in this version: {remedy}")]
    Unsupported {
        /// The provider.
        provider: &'static str,
        /// The field under `spec`.
        field: &'static str,
        /// What to use instead.
        remedy: &'static str,
    },
    /// The plan itself can't be served.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No uplink is for this node.
    #[error(
        "NetworkClass {class:?} has no uplink for node {node:?}: label the node, or add an uplink that selects it"
    )]
    NoUplink {
        /// The class.
        class: String,
        /// The node.
        node: String,
    },
    /// The lease does not have what the plan needs.
    #[error("the lease for Network {network} has no address, which its addressing (ipam: Managed) needs")]
    NoAddress {
        /// The Network.
        network: String,
    },
    /// A leased address is in none of the plan's subnets.
    #[error("the lease for Network {network} has address {address}, which is in none of its subnets")]
    ForeignAddress {
        /// The Network.
        network: String,
        /// The address.
        address: std::net::IpAddr,
    },
    /// What was made can't be run.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
}
