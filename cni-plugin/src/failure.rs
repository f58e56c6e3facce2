//! What a caller is told when a command fails: the error document of the CNI specification.

use knap_protocol::CniCode;
use serde::Serialize;

use crate::version::CniVersion;

/// A failed command. Multus flattens the document into text, so the message alone says what failed, which object,
/// and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The code that the caller acts on.
    pub code: CniCode,
    /// What failed, which object, what to do.
    pub message: String,
    /// What else a delegate had to say.
    pub details: Option<String>,
}

/// CNI specification 1.1.0, section "Error".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    cni_version: &'a str,
    code: u32,
    msg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a str>,
}

impl Failure {
    /// A failure of our own.
    pub fn new(code: CniCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None }
    }

    /// One failure of several, in the order given: the code of the first, the messages of all.
    pub fn all_of(failures: Vec<Self>) -> Option<Self> {
        let mut failures = failures.into_iter();
        let mut all = failures.next()?;
        for other in failures {
            all.message = format!("{}; {}", all.message, other.message);
        }
        Some(all)
    }

    /// Says more at the end of the message.
    #[must_use]
    pub fn and(mut self, more: impl std::fmt::Display) -> Self {
        self.message = format!("{}; {more}", self.message);
        self
    }

    /// Names the object, unless the message already does.
    #[must_use]
    pub fn about(mut self, object: &str) -> Self {
        if !self.message.contains(object) {
            self.message = format!("{object}: {}", self.message);
        }
        self
    }

    /// The error document, as it goes to standard output.
    pub fn document(&self, version: CniVersion) -> String {
        let document = Document {
            cni_version: version.as_str(),
            code: self.code.0,
            msg: &self.message,
            details: self.details.as_deref(),
        };
        // A struct of strings and a number always has a JSON form; the fallback keeps the code if it ever had none.
        serde_json::to_string(&document).unwrap_or_else(|_| format!("{{\"code\":{}}}", self.code.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_specifications_keys() {
        let failure = Failure::new(CniCode::NETNS, "no namespace").and("make it first");
        assert_eq!(
            failure.document(CniVersion::V1_0_0),
            r#"{"cniVersion":"1.0.0","code":8,"msg":"no namespace; make it first"}"#
        );
    }

    #[test]
    fn several_failures_are_one_with_all_messages() {
        let all = Failure::all_of(vec![
            Failure::new(CniCode::IO, "first"),
            Failure::new(CniCode::DECODE, "second"),
        ])
        .unwrap();
        assert_eq!((all.code, all.message.as_str()), (CniCode::IO, "first; second"));
        assert_eq!(Failure::all_of(vec![]), None);
    }
}
