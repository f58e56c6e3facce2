//! What is said about an object.

use serde_json::Value;

/// What is said about an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Verdict {
    /// Why the object is refused, if it is.
    pub(crate) refused: Option<Refused>,
    /// Shown to whoever made the request.
    pub(crate) warnings: Vec<String>,
    /// Changes of the object: operations of a JSON Patch (RFC 6902).
    pub(crate) patch: Vec<Value>,
}

/// Why an object is not to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The class of reasons: as a Network's conditions would have it, or CamelCase as there. For whoever counts.
    pub(crate) reason: &'static str,
    /// Which object, what is wrong, what to do.
    pub(crate) message: String,
}

/// The reason where the object is not of its kind's shape.
pub(crate) const UNREADABLE: &str = "Unreadable";

impl Verdict {
    /// Nothing to say.
    pub(crate) fn allowed() -> Self {
        Self::default()
    }

    /// It is not to be.
    pub(crate) fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self { refused: Some(Refused { reason, message: message.into() }), ..Self::default() }
    }

    /// It may be, though not without a word.
    pub(crate) fn warning(warning: impl Into<String>) -> Self {
        Self { warnings: vec![warning.into()], ..Self::default() }
    }

    /// The same with a further word.
    pub(crate) fn and_warn(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }
}
