//! What can go wrong with a call of the resolver, and what it may have left there.

use std::io;
use std::path::{Path, PathBuf};

use knap_protocol::{CniCode, NodeName, Problem};

/// What a call that failed may have done. Ordered by how much is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing: it never arrived, or was refused.
    Nothing,
    /// Perhaps something, but no more will come of it: it was answered, and not as being at work still.
    Perhaps,
    /// Unknown, and it may still be at work.
    Pending,
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct ResolverError {
    /// Why the last endpoint's call failed.
    pub cause: Cause,
    /// What all endpoints together may have done.
    pub outcome: Outcome,
}

impl ResolverError {
    /// Whether no endpoint was so much as reached.
    pub(crate) fn never_connected(&self) -> bool {
        self.outcome == Outcome::Nothing && matches!(self.cause, Cause::Unreachable { .. })
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// No credential.
    #[error("can't read the resolver's token {}: {source}; the node agent writes it", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No usable CA.
    #[error("can't use the resolver's CA file {}: {reason}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Whoever answers there can't prove to be the resolver.
    #[error("can't trust the resolver at {endpoint}: {reason}; {}", checked_against(ca_file.as_deref()))]
    Untrusted {
        /// Where.
        endpoint: String,
        /// What is wrong with its certificate.
        reason: String,
        /// The authorities that it was checked against.
        ca_file: Option<PathBuf>,
    },
    /// No connection.
    #[error("can't reach the resolver at {endpoint}: {reason}; check that knap-resolver runs there")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// Sent, and not answered.
    #[error("the resolver at {endpoint} did not answer: {reason}; try again")]
    NoAnswer {
        /// Where.
        endpoint: String,
        /// What happened instead.
        reason: String,
    },
    /// Answered with something else.
    #[error(
        "{endpoint} answered {status}, and not as a knap-resolver does: {reason}; check resolver.endpoints"
    )]
    Garbage {
        /// Where.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
    },
    /// Refused: the resolver says why.
    #[error("{}", refusal(problem))]
    Refused {
        /// What it says.
        problem: Box<Problem>,
    },
    /// The credential is refused.
    #[error("{}; asked as node {node} with the token of {}", refusal(problem), token_file.display())]
    Credential {
        /// What it says.
        problem: Box<Problem>,
        /// Who asked.
        node: NodeName,
        /// With what.
        token_file: PathBuf,
    },
}

/// The resolver's words, and the decision's name where there is one.
fn refusal(problem: &Problem) -> String {
    let words = match (problem.detail.as_str(), problem.title.as_str()) {
        ("", "") => format!("the resolver answered {}", problem.status),
        ("", title) => title.to_owned(),
        (detail, _) => detail.to_owned(),
    };
    if problem.id.is_empty() { words } else { format!("{words} (decision {})", problem.id) }
}

fn checked_against(ca_file: Option<&Path>) -> String {
    match ca_file {
        Some(file) => {
            format!("compare {} with the ConfigMap knap-ca in the resolver's namespace", file.display())
        }
        None => "name a file of its authorities as resolver.caFile in the node file".to_owned(),
    }
}

impl Cause {
    /// The code that the caller acts on.
    pub fn code(&self) -> CniCode {
        match self {
            Self::Refused { problem } | Self::Credential { problem, .. } => problem.cni_code,
            Self::Token { .. }
            | Self::Authority { .. }
            | Self::Untrusted { .. }
            | Self::Unreachable { .. }
            | Self::NoAnswer { .. }
            | Self::Garbage { .. } => CniCode::TRY_AGAIN,
        }
    }

    /// What a call that failed so may have done.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Token { .. }
            | Self::Authority { .. }
            | Self::Untrusted { .. }
            | Self::Unreachable { .. } => Outcome::Nothing,
            Self::NoAnswer { .. } => Outcome::Pending,
            // A gateway that gave up waiting: whoever it asked may not have.
            Self::Garbage { status: 502 | 504, .. } => Outcome::Pending,
            Self::Garbage { .. } => Outcome::Perhaps,
            Self::Refused { problem } if problem.unsettled => Outcome::Pending,
            Self::Refused { problem } | Self::Credential { problem, .. } => match problem.status {
                507 => Outcome::Nothing,
                500.. => Outcome::Perhaps,
                _ => Outcome::Nothing,
            },
        }
    }

    /// Whether any other call would fail alike now. What the resolver refuses may be refused for its own sake.
    pub fn is_of_every_call(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }

    /// Whether another replica may do better.
    pub(crate) fn is_worth_another_endpoint(&self) -> bool {
        match self {
            Self::Token { .. } | Self::Authority { .. } => false,
            Self::Untrusted { .. }
            | Self::Unreachable { .. }
            | Self::NoAnswer { .. }
            | Self::Garbage { .. } => true,
            Self::Refused { problem } | Self::Credential { problem, .. } => {
                problem.status >= 500 && problem.status != 507
            }
        }
    }
}
