//! What DEL needs of ADD, under the folder that Multus uses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::attachment::Attachment;

/// One pod's file.
pub(super) struct Cache(PathBuf);

impl Cache {
    pub(super) fn of(folder: &Path, container: &str) -> Self {
        Self(folder.join(container))
    }

    pub(super) fn write(&self, attachments: &[Attachment]) -> anyhow::Result<()> {
        // As Multus: requested port mappings and bandwidth are not kept.
        let mut kept = attachments.to_vec();
        for attachment in kept.iter_mut().filter(|attachment| !attachment.definition.is_empty()) {
            attachment.runtime_config.retain(|name, _| name != "portMappings" && name != "bandwidth");
        }
        fs::create_dir_all(self.0.parent().context("a folder")?)?;
        fs::write(&self.0, serde_json::to_vec(&kept)?).with_context(|| format!("write {}", self.0.display()))
    }

    /// Empty where nothing was written.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Attachment>> {
        match fs::read(&self.0) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("read {}", self.0.display())),
        }
    }

    pub(super) fn forget(&self) {
        let _ = fs::remove_file(&self.0);
    }
}
