//! Taking everything away, but never from under a running attachment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::HostPaths;
use crate::ledger::LedgerError;
use crate::node_file::{self, WithdrawError};
use crate::plugin_binary::BinaryError;
use crate::replace::{ReplaceError, sweep};

/// Why something stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UninstallError {
    /// Pods still use what the plugin made.
    #[error("{0}: stop their pods or run `knap reap` first, or use --force and clean up by hand")]
    InUse(LedgerError),
    /// Nobody can know whether they do.
    #[error(transparent)]
    Unknown(LedgerError),
    /// The binary is somebody else's.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The node file can't be moved.
    #[error(transparent)]
    NodeFile(#[from] ReplaceError),
    /// Some things could not be removed; the others are gone.
    #[error("could not remove {}", .0.join("; "))]
    Remove(Vec<String>),
}

impl From<WithdrawError> for UninstallError {
    fn from(error: WithdrawError) -> Self {
        match error {
            WithdrawError::Ledger(error @ LedgerError::InUse { .. }) => Self::InUse(error),
            WithdrawError::Ledger(error @ LedgerError::Read { .. }) => Self::Unknown(error),
            WithdrawError::Replace(error) => Self::NodeFile(error),
        }
    }
}

/// Removes the binary, the version before, the files of the agent, the node file and the ledger; returns what was there.
/// `pause` lets calls of the plugin that have begun be seen.
pub(crate) fn remove_all(
    paths: &HostPaths,
    force: bool,
    pause: &dyn Fn(),
) -> Result<Vec<PathBuf>, UninstallError> {
    let binary = paths.plugin();
    binary.installed(&[])?;
    node_file::put_back(paths)?;
    // The one that is in use, and the one that was to be.
    let mut ledgers: Vec<PathBuf> = node_file::state_dir(paths).into_iter().collect();
    if !ledgers.contains(&paths.state_dir) {
        ledgers.push(paths.state_dir.clone());
    }
    if !force {
        node_file::withdraw(paths, &ledgers, pause)?;
    }
    binary.sweep();
    let mut removal = Removal::default();
    removal.file(&binary.path());
    if !removal.failures.is_empty() {
        // It stays, and without the node file every DEL would fail.
        node_file::put_back(paths)?;
        return removal.end();
    }
    removal.file(&binary.previous());
    for ledger in &ledgers {
        removal.note(&paths.here(ledger), remove_folder(paths, ledger, true));
    }
    for file in paths.kept_files().map(|file| paths.here(&file)) {
        sweep(&file);
        removal.file(&file);
    }
    removal.end()
}

/// Removes the configuration folder, which also holds the lock. One that holds somebody's other files stays.
pub(crate) fn remove_config_dir(paths: &HostPaths) -> Result<(), UninstallError> {
    let mut removal = Removal::default();
    removal.note(&paths.here(&paths.config_dir), remove_folder(paths, &paths.config_dir, false));
    removal.end().map(drop)
}

/// What is gone, and what could not be removed.
#[derive(Debug, Default)]
struct Removal {
    removed: Vec<PathBuf>,
    failures: Vec<String>,
}

impl Removal {
    fn file(&mut self, path: &Path) {
        let outcome = match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true),
        };
        self.note(path, outcome);
    }

    /// Notes what came of a removal.
    fn note(&mut self, path: &Path, outcome: io::Result<bool>) {
        match outcome {
            Ok(true) => self.removed.push(path.to_owned()),
            Ok(false) => {}
            Err(error) => self.failures.push(format!("{}: {error}", path.display())),
        }
    }

    fn end(self) -> Result<Vec<PathBuf>, UninstallError> {
        if self.failures.is_empty() { Ok(self.removed) } else { Err(UninstallError::Remove(self.failures)) }
    }
}

/// Removes an empty folder of the host (`whole`: one with all in it); false if it was not there, or has to stay: it holds
/// somebody's files, or is where a volume is mounted. Where a link leads to it, link and folder are somebody's; only what is in
/// it goes.
fn remove_folder(paths: &HostPaths, folder: &Path, whole: bool) -> io::Result<bool> {
    let here = paths.root().folder(folder);
    let is_linked = paths.here(folder).is_symlink();
    let outcome = match (is_linked, whole) {
        (true, true) => empty(&here).map(|()| false),
        (true, false) => Ok(false),
        (false, true) => fs::remove_dir_all(&here).map(|()| true),
        (false, false) => fs::remove_dir(&here).map(|()| true),
    };
    let stays = [io::ErrorKind::NotFound, io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::ResourceBusy];
    match outcome {
        Err(error) if stays.contains(&error.kind()) => Ok(false),
        outcome => outcome,
    }
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        }?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt;

    use clap::Parser;

    use super::*;
    use crate::cli::Arguments;

    /// A node on which Knap is installed, and unused.
    fn installed(root: &Path) -> HostPaths {
        for folder in ["bin", "conf", "state/attachments", "state/locks"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("bin/knap"), "#!/bin/sh\necho 'knap 1: a CNI plugin' >&2\n").unwrap();
        fs::set_permissions(root.join("bin/knap"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("conf/node.json"), "{}").unwrap();
        let path = |name: &str| root.join(name).display().to_string();
        let (bin, conf, state) = (path("bin"), path("conf"), path("state"));
        let folders = ["--bin-dir", &bin, "--config-dir", &conf, "--state-dir", &state];
        Arguments::parse_from(["knap-installer", "uninstall"].iter().chain(&folders)).paths
    }

    #[test]
    fn an_add_under_way_keeps_everything_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let (paths, here) = (installed(folder.path()), |name: &str| folder.path().join(name));
        let entry = here("state/attachments/c1@net1.json");
        // It has read the node file already, and comes to its intent only now.
        let refused = remove_all(&paths, false, &|| {
            assert!(!here("conf/node.json").exists(), "nobody begins any more");
            fs::write(&entry, "{}").unwrap();
        });
        assert!(matches!(refused, Err(UninstallError::InUse(_))), "{refused:?}");
        assert!(here("conf/node.json").exists() && here("bin/knap").exists() && entry.exists());
        fs::remove_file(&entry).unwrap();
        // It has not even come to that.
        let lock = File::create(here("state/locks/c1@net1.lock")).unwrap();
        lock.lock().unwrap();
        let refused = remove_all(&paths, false, &|| {});
        assert!(matches!(refused, Err(UninstallError::InUse(_))), "{refused:?}");
        assert!(here("conf/node.json").exists() && here("bin/knap").exists());
        // Nobody's.
        lock.unlock().unwrap();
        remove_all(&paths, false, &|| {}).unwrap();
        assert_eq!(
            fs::read_dir(here("conf")).unwrap().count() + fs::read_dir(here("bin")).unwrap().count(),
            0
        );
        assert!(!here("state").exists());
    }

    #[test]
    fn what_a_kill_has_withdrawn_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let (paths, here) = (installed(folder.path()), |name: &str| folder.path().join(name));
        let killed = std::panic::catch_unwind(|| remove_all(&paths, false, &|| panic!("killed")));
        assert!(killed.is_err() && !here("conf/node.json").exists());
        fs::write(here("state/attachments/c1@net1.json"), "{}").unwrap();
        let refused = remove_all(&paths, false, &|| {});
        assert!(matches!(refused, Err(UninstallError::InUse(_))), "{refused:?}");
        assert!(here("conf/node.json").exists());
    }

    #[test]
    fn a_plugin_that_can_not_be_removed_keeps_its_node_file() {
        let folder = tempfile::tempdir().unwrap();
        let (paths, here) = (installed(folder.path()), |name: &str| folder.path().join(name));
        let failed = remove_all(&paths, false, &|| {
            // Root may remove any file; but not this.
            fs::remove_file(here("bin/knap")).unwrap();
            fs::create_dir(here("bin/knap")).unwrap();
        });
        assert!(matches!(failed, Err(UninstallError::Remove(_))), "{failed:?}");
        assert!(here("conf/node.json").exists() && here("state").exists());
    }
}
