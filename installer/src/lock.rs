//! One installer at a time on a node.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why this process may not change the node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Somebody else does.
    #[error("{holder} looks after this node already and holds {}; stop it first", path.display())]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// Who.
        holder: String,
    },
    /// It can't be known.
    #[error("can't lock {}: {source}; check that the folder is writable and has space", path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// How this process is told from others: by its pod, where it has one.
pub(crate) fn this_process() -> String {
    match std::env::var("POD_NAME") {
        Ok(pod) => format!("the agent of pod {pod}"),
        Err(_) => format!("knap-installer, process {},", std::process::id()),
    }
}

/// The right to change what Knap has on this node. It ends with this value, and with its process.
#[derive(Debug)]
pub(crate) struct NodeLock {
    path: PathBuf,
    /// Closing it is what unlocks.
    _file: File,
}

impl NodeLock {
    /// Takes the lock if nobody has it, and writes into its file who it is now. Makes the folder where it is missing.
    pub(crate) fn take(path: &Path, who: &str) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        loop {
            let mut file = open(path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // Whoever it is, it is there.
                    let _ = file.take(256).read_to_string(&mut holder);
                    let holder = if holder.is_empty() { "somebody".to_owned() } else { holder };
                    return Err(LockError::Held { path: path.to_owned(), holder });
                }
            }
            // The holder before may have removed the file between our open and our lock.
            if is_same(&file, path).map_err(failed)? {
                // For people only: a full disk must not keep the agent from its work.
                let _ = file.set_len(0).and_then(|()| file.write_all(who.as_bytes()));
                return Ok(Self { path: path.to_owned(), _file: file });
            }
        }
    }
}

impl Drop for NodeLock {
    fn drop(&mut self) {
        // Best effort: one that stays is as good as none.
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_other_learns_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf/agent.lock");
        let first = NodeLock::take(&path, "pod knap-node-x").unwrap();
        let refused = NodeLock::take(&path, "pod knap-node-y").unwrap_err();
        assert!(refused.to_string().contains("pod knap-node-x"), "{refused}");
        drop(first);
        assert!(!path.exists());
        let second = NodeLock::take(&path, "pod knap-node-y").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "pod knap-node-y");
        drop(second);
    }

    #[test]
    fn a_folder_that_takes_no_file_is_named() {
        let error = NodeLock::take(Path::new("/proc/none/agent.lock"), "x").unwrap_err();
        assert!(error.to_string().contains("/proc/none"), "{error}");
    }
}
