//! What is said about an object.

use serde_json::Value;

/// What is said about an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Verdict {
    /// Why the object is refused: which object, what is wrong, what to do.
    pub(crate) refused: Option<String>,
    /// Shown to whoever made the request.
    pub(crate) warnings: Vec<String>,
    /// Changes of the object: operations of a JSON Patch (RFC 6902).
    pub(crate) patch: Vec<Value>,
}

impl Verdict {
    /// Nothing to say.
    pub(crate) fn allowed() -> Self {
        Self::default()
    }

    /// It is not to be.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self { refused: Some(why.into()), ..Self::default() }
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
