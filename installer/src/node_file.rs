//! The plugin's node file: written if it is not what it should be.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use knap_protocol::NodeFile;

use crate::replace::{ReplaceError, replace};

/// Why the node file is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeFileError {
    /// Its folder can't be made.
    #[error("can't make the folder {}: {source}", path.display())]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It can't be put into words.
    #[error("can't encode the node file")]
    Encode(#[from] serde_json::Error),
    /// It could not be put in place.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

/// What was done to the node file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was missing or different.
    Written,
    /// It was right.
    Unchanged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Written => "written",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Makes the file at `path` say `wanted`.
pub(crate) fn ensure(path: &Path, wanted: &NodeFile) -> Result<Outcome, NodeFileError> {
    let mut content = serde_json::to_vec_pretty(wanted)?;
    content.push(b'\n');
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(Outcome::Unchanged);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .map_err(|source| NodeFileError::Folder { path: folder.to_owned(), source })?;
    }
    replace::<NodeFileError>(path, &content, 0o600, |_| Ok(()))?;
    Ok(Outcome::Written)
}
