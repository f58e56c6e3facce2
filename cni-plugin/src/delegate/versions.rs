//! Which versions each delegate knows: asked once per program, and remembered until its file changes.

use std::collections::BTreeMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What delegates answered, in one file. It may be lost at any time: then they are asked again.
#[derive(Debug)]
pub struct VersionMemory {
    path: PathBuf,
}

/// Tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inode: u64,
    mtime: i64,
    mtime_nsec: i64,
    size: u64,
}

impl From<&Metadata> for Stamp {
    fn from(file: &Metadata) -> Self {
        Self { inode: file.ino(), mtime: file.mtime(), mtime_nsec: file.mtime_nsec(), size: file.size() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    #[serde(flatten)]
    stamp: Stamp,
    versions: Vec<String>,
}

impl VersionMemory {
    /// Kept in `state_dir`.
    pub fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("versions.json") }
    }

    /// What the program answered, if its file has not changed since.
    pub fn recall(&self, program: &Path) -> Option<Vec<String>> {
        let stamp = Stamp::from(&fs::metadata(program).ok()?);
        let known = self.load().remove(program.to_str()?)?;
        (known.stamp == stamp).then_some(known.versions)
    }

    /// Remembers an answer. Two calls at once may lose one of theirs, which costs a question more.
    pub fn remember(&self, program: &Path, versions: &[String]) {
        if let Err(error) = self.store(program, versions) {
            tracing::debug!(%error, path = %self.path.display(), "can't remember a delegate's versions");
        }
    }

    fn load(&self) -> BTreeMap<String, Known> {
        let bytes = fs::read(&self.path).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn store(&self, program: &Path, versions: &[String]) -> io::Result<()> {
        let Some(name) = program.to_str() else { return Ok(()) };
        let stamp = Stamp::from(&fs::metadata(program)?);
        let mut all = self.load();
        // A program that is gone is not asked for again.
        all.retain(|program, _| Path::new(program).exists());
        all.insert(name.to_owned(), Known { stamp, versions: versions.to_vec() });
        // One name for all, so that none is left over. What two have written at once is no JSON, and then nothing is known.
        let draft = self.path.with_extension("draft");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let written =
            file.write_all(&serde_json::to_vec(&all)?).and_then(|()| fs::rename(&draft, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let memory = VersionMemory::new(folder.path());
        let program = folder.path().join("bridge");
        fs::write(&program, "one").unwrap();
        assert_eq!(memory.recall(&program), None);
        let versions = vec!["1.0.0".to_owned()];
        memory.remember(&program, &versions);
        assert_eq!(memory.recall(&program), Some(versions.clone()));
        fs::write(&program, "another").unwrap();
        assert_eq!(memory.recall(&program), None);
        memory.remember(&program, &versions);
        fs::remove_file(&program).unwrap();
        assert_eq!(memory.recall(&program), None);
    }

    #[test]
    fn a_broken_memory_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let memory = VersionMemory::new(folder.path());
        let program = folder.path().join("bridge");
        fs::write(&program, "one").unwrap();
        fs::write(folder.path().join("versions.json"), "{").unwrap();
        assert_eq!(memory.recall(&program), None);
        memory.remember(&program, &["1.0.0".to_owned()]);
        assert_eq!(memory.recall(&program), Some(vec!["1.0.0".to_owned()]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
