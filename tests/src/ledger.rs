//! What the plugin keeps on disk, as anybody sees it who looks into the folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The plugin's stateDir.
#[derive(Debug, Clone)]
pub struct LedgerView {
    folder: PathBuf,
}

impl LedgerView {
    /// Looks at a stateDir.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of one attachment's entry.
    pub fn entry_file(&self, container: &str, ifname: &str) -> PathBuf {
        self.folder.join("attachments").join(format!("{container}@{ifname}.json"))
    }

    /// One attachment's entry.
    pub fn entry(&self, container: &str, ifname: &str) -> Option<Value> {
        let text = fs::read(self.entry_file(container, ifname)).ok()?;
        Some(serde_json::from_slice(&text).expect("an entry in JSON"))
    }

    /// The `state` of one attachment's entry.
    pub fn state(&self, container: &str, ifname: &str) -> Option<String> {
        self.entry(container, ifname).map(|entry| entry["state"].as_str().unwrap_or_default().to_owned())
    }

    /// File names of all entries.
    pub fn entries(&self) -> Vec<String> {
        self.files("attachments")
    }

    /// File names of all tombstones.
    pub fn tombstones(&self) -> Vec<String> {
        self.files("releasing")
    }

    /// File names of all corrupt entries put aside.
    pub fn corrupt(&self) -> Vec<String> {
        self.files("corrupt")
    }

    /// All files of attachments, dead or alive, with their folders: entries, tombstones, corrupt ones, users of links.
    /// What is remembered of delegates' versions and of the boot, the ledger's name, and locks, belong to none.
    pub fn traces(&self) -> Vec<String> {
        let mut traces = Vec::new();
        walk(&self.folder, &mut |path| {
            let inside = path.strip_prefix(&self.folder).unwrap_or(path).display().to_string();
            let of_none = ["locks", "versions", "boot", ".boot", "id", ".id"];
            if !of_none.iter().any(|name| inside.starts_with(name)) {
                traces.push(inside);
            }
        });
        traces.sort();
        traces
    }

    /// # Panics
    /// Unless folders are 0700 and files 0600.
    pub fn assert_private(&self) {
        let mut looked_at = 0;
        walk(&self.folder, &mut |path| {
            let mode = fs::metadata(path).expect("a file's mode").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "mode of {}", path.display());
            let folder = path.parent().expect("a folder");
            let mode = fs::metadata(folder).expect("a folder's mode").permissions().mode() & 0o777;
            assert_eq!(mode, 0o700, "mode of {}", folder.display());
            looked_at += 1;
        });
        assert!(looked_at > 0, "{} is empty", self.folder.display());
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join(folder)).into_iter().flatten();
        let names = entries.map(|entry| entry.expect("a folder's entry").file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// Visits every file under a folder.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a folder's entry").path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}
