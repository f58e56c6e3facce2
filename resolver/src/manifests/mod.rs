//! A folder of YAML files instead of an API server: what is in the files is applied to the store, and follows them.
//!
//! One broken file never takes another down: it is named with the reason, what it said before keeps serving, and all
//! other files are followed on.

mod apply;
mod contents;
mod document;
mod folder;
mod metadata;
mod scan;
mod schema;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::contents::Contents;
pub use self::document::{Manifest, ManifestError, parse};
pub use self::folder::{Folder, FolderError};
pub use self::scan::is_manifest;

/// Annotation of objects that came from a manifest folder: the file's name. What does not carry it is never removed.
pub const FILE_ANNOTATION: &str = "knap.github.com/manifest";

/// The namespace of Networks whose manifest names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A file that could not be taken as it is. What it said before keeps serving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenManifest {
    /// Its name in the folder.
    pub file: String,
    /// What is wrong in it, and where.
    pub reason: String,
}

impl fmt::Display for BrokenManifest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.file, self.reason)
    }
}
