//! Errors on the wire: problem documents of RFC 9457, with what the CNI caller has to know.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A CNI error code (CNI specification 1.1.0, section "Error").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CniCode(pub u32);

impl CniCode {
    /// Incompatible CNI version.
    pub const VERSION: Self = Self(1);
    /// Invalid necessary environment variables.
    pub const ENVIRONMENT: Self = Self(4);
    /// I/O failure.
    pub const IO: Self = Self(5);
    /// Failed to decode content.
    pub const DECODE: Self = Self(6);
    /// Invalid network configuration.
    pub const INVALID_CONFIG: Self = Self(7);
    /// The network namespace is missing, is none, or is our own (as the Go library uses it).
    pub const NETNS: Self = Self(8);
    /// Try again later.
    pub const TRY_AGAIN: Self = Self(11);
    /// STATUS: the plugin is not available.
    pub const NOT_AVAILABLE: Self = Self(50);
    /// Knap's own: a delegate is not in CNI_PATH.
    pub const DELEGATE_MISSING: Self = Self(101);
    /// Knap's own: a delegate printed what is neither a result nor an error.
    pub const DELEGATE_GARBAGE: Self = Self(102);
    /// Knap's own: CHECK of an attachment that the ledger does not know.
    pub const NO_ENTRY: Self = Self(103);
}

impl fmt::Display for CniCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What went wrong, as HTTP and CNI both have to say it (design: the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The body or the path can't be taken as it is.
    BadRequest,
    /// No credential, or not one of ours.
    Unauthorized,
    /// The credential is good, but not for this.
    Forbidden,
    /// The pod's namespace may not use the Network.
    NotPermitted,
    /// No such Network.
    UnknownNetwork,
    /// The address, MAC or lease asked for is somebody else's.
    Taken,
    /// The node's boot is fenced, or a later one was heard of.
    Fenced,
    /// The request is understood and can't be honoured.
    Unprocessable,
    /// The namespace's quota is used up.
    OverQuota,
    /// The Network is not Ready; the detail holds its condition.
    NotReady,
    /// Try again: the store is away, or the deadline passed.
    Unavailable,
    /// No address is left.
    Full,
    /// A defect of ours.
    Internal,
}

impl ProblemKind {
    /// A short name, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotPermitted => "not_permitted",
            Self::UnknownNetwork => "unknown_network",
            Self::Taken => "taken",
            Self::Fenced => "fenced",
            Self::Unprocessable => "unprocessable",
            Self::OverQuota => "over_quota",
            Self::NotReady => "not_ready",
            Self::Unavailable => "unavailable",
            Self::Full => "full",
            Self::Internal => "internal",
        }
    }

    /// HTTP status, CNI code, whether the same request may succeed later, and the title.
    const fn facts(self) -> (u16, CniCode, bool, &'static str) {
        match self {
            Self::BadRequest => (400, CniCode::INVALID_CONFIG, false, "bad request"),
            Self::Unauthorized => (401, CniCode::TRY_AGAIN, true, "not authenticated"),
            Self::Forbidden => (403, CniCode::INVALID_CONFIG, false, "not authorized"),
            Self::NotPermitted => (403, CniCode::INVALID_CONFIG, false, "network not permitted"),
            Self::UnknownNetwork => (404, CniCode::INVALID_CONFIG, false, "unknown network"),
            Self::Taken => (409, CniCode::INVALID_CONFIG, false, "already taken"),
            Self::Fenced => (409, CniCode::INVALID_CONFIG, false, "boot fenced or superseded"),
            Self::Unprocessable => (422, CniCode::INVALID_CONFIG, false, "unprocessable request"),
            Self::OverQuota => (429, CniCode::INVALID_CONFIG, false, "over quota"),
            Self::NotReady => (503, CniCode::TRY_AGAIN, true, "network not ready"),
            Self::Unavailable => (503, CniCode::TRY_AGAIN, true, "unavailable"),
            Self::Full => (507, CniCode::TRY_AGAIN, true, "no free address"),
            Self::Internal => (500, CniCode::TRY_AGAIN, true, "internal error"),
        }
    }

    /// HTTP status.
    pub const fn status(self) -> u16 {
        self.facts().0
    }

    /// Makes the document; `detail` says what failed, which object, and what to do.
    pub fn problem(self, id: impl Into<String>, detail: impl Into<String>) -> Problem {
        let (status, cni_code, retryable, title) = self.facts();
        Problem {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            id: id.into(),
            cni_code,
            retryable,
            unsettled: false,
        }
    }
}

/// A problem document (RFC 9457), media type `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `type`: always `about:blank`, since `title` and `cniCode` say enough.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The same for every problem of a kind.
    #[serde(default)]
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What failed, which object, what to do.
    #[serde(default)]
    pub detail: String,
    /// The decision's name, as in `AttachReply`.
    #[serde(default)]
    pub id: String,
    /// The code that the plugin's error carries.
    pub cni_code: CniCode,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Whether what was asked for may still come to be: a release sent now may overtake it, and must be sent again after the
    /// request's deadline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsettled: bool,
}

impl Problem {
    /// The media type of problem documents.
    pub const MEDIA_TYPE: &str = "application/problem+json";
}
