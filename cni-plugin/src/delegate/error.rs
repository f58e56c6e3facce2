//! What can go wrong with a delegate; every message names it.

use knap_protocol::{CniCode, InterfaceName};

use super::exec::ExecError;
use crate::failure::Failure;
use crate::version::CniVersion;

/// A delegate that did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum DelegateError {
    /// A configuration without a usable `type`.
    #[error(
        "the resolver answered a delegate configuration whose type is {0}: correct the class's parameters"
    )]
    Type(String),
    /// A plugin that would call us back.
    #[error(
        "delegate {0:?} is refused: knap can't delegate to itself or to multus; correct the class's parameters"
    )]
    Recursive(String),
    /// No such program.
    #[error("delegate {delegate} is not in CNI_PATH ({path}): install it on this node")]
    NotInPath {
        /// Which.
        delegate: String,
        /// Where it was looked for.
        path: String,
    },
    /// A device is needed, and the pod has none.
    #[error(
        "delegate {delegate} needs a device and the call names none: the pod must request the class's resourceName, \
         and the NetworkAttachmentDefinition must carry it as its k8s.v1.cni.cncf.io/resourceName annotation"
    )]
    NoDevice {
        /// Which.
        delegate: String,
    },
    /// It speaks no version of ours.
    #[error("delegate {delegate} knows CNI {}; knap speaks {}: install another version of it", .known.join(", "), CniVersion::list())]
    Version {
        /// Which.
        delegate: String,
        /// What it says it knows.
        known: Vec<String>,
    },
    /// It could not be run to its end.
    #[error("delegate {delegate}, {command}: {source}")]
    Exec {
        /// Which.
        delegate: String,
        /// Doing what.
        command: &'static str,
        /// Why.
        source: ExecError,
    },
    /// Its answer is nothing of CNI's.
    #[error("delegate {delegate}, {command}: it printed what is no CNI {expected} ({status}): {reason}")]
    Garbage {
        /// Which.
        delegate: String,
        /// Doing what.
        command: &'static str,
        /// What it should have printed.
        expected: &'static str,
        /// How it ended.
        status: String,
        /// What is wrong, or what it printed.
        reason: String,
    },
    /// It failed, and what it builds on is not there.
    #[error(
        "{source}: its master {master} does not exist on this node; correct the class's uplinks or their node selectors"
    )]
    NoMaster {
        /// The link.
        master: InterfaceName,
        /// What it said.
        source: Box<DelegateError>,
    },
    /// It failed, and said so.
    #[error("delegate {delegate}, {command}: {}", .failure.message)]
    Failed {
        /// Which.
        delegate: String,
        /// Doing what.
        command: &'static str,
        /// What it said.
        failure: Failure,
    },
}

impl DelegateError {
    /// The code that the caller acts on. A delegate's own is kept, but for 3: runtimes would skip cleaning up what has
    /// been done; and for 0, which is none.
    pub fn code(&self) -> CniCode {
        match self {
            Self::Type(_) | Self::Recursive(_) | Self::NoDevice { .. } => CniCode::INVALID_CONFIG,
            Self::NotInPath { .. } => CniCode::DELEGATE_MISSING,
            Self::Version { .. } => CniCode::VERSION,
            Self::Exec { source, .. } => match source {
                ExecError::Killed { .. } | ExecError::Busy { .. } => CniCode::TRY_AGAIN,
                ExecError::Flood { .. } => CniCode::DELEGATE_GARBAGE,
                ExecError::Spawn { .. } | ExecError::Lost { .. } => CniCode::IO,
            },
            Self::Garbage { .. } => CniCode::DELEGATE_GARBAGE,
            Self::NoMaster { source, .. } => source.code(),
            Self::Failed { failure, .. } => match failure.code {
                CniCode(0 | 3) => CniCode::TRY_AGAIN,
                code => code,
            },
        }
    }
}

impl From<DelegateError> for Failure {
    fn from(error: DelegateError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        let details = match error {
            DelegateError::Failed { failure, .. } => failure.details,
            DelegateError::NoMaster { source, .. } => Self::from(*source).details,
            _ => None,
        };
        Self { code, message, details }
    }
}
