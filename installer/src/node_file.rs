//! The plugin's node file: written if it is not what it should be.

use std::path::Path;

use knap_protocol::NodeFile;

use crate::replace::{Outcome, ReplaceError, keep};

/// Why the node file is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeFileError {
    /// It can't be put into words.
    #[error("can't encode the node file")]
    Encode(#[from] serde_json::Error),
    /// It could not be put in place.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

/// Makes the file at `path` say `wanted`.
pub(crate) fn ensure(path: &Path, wanted: &NodeFile) -> Result<Outcome, NodeFileError> {
    let mut content = serde_json::to_vec_pretty(wanted)?;
    content.push(b'\n');
    Ok(keep(path, &content, 0o600)?)
}
