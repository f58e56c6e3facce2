//! Locks between processes, one file each, that leave no files behind.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// An exclusive lock (flock) on a file. It ends when dropped, and when its process dies.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    path: PathBuf,
}

impl FileLock {
    /// Waits for the lock until `deadline`, trying at least once; `None` says it is still held.
    pub(crate) fn acquire_before(path: &Path, deadline: Instant) -> io::Result<Option<Self>> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = Self::try_acquire(path)? {
                return Ok(Some(lock));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(16));
        }
    }

    /// Waits for the lock as long as it takes: for work whose holders do nothing that can hang.
    pub(crate) fn acquire(path: &Path) -> io::Result<Self> {
        loop {
            let file = open(path)?;
            file.lock()?;
            if let Some(lock) = Self::if_still_there(file, path)? {
                return Ok(lock);
            }
        }
    }

    /// The lock, if nobody holds it.
    pub(crate) fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if let Some(lock) = Self::if_still_there(file, path)? {
                return Ok(Some(lock));
            }
        }
    }

    /// From now on the programs that this process starts hold the lock too, each until it has ended.
    ///
    /// A delegate whose plugin is killed works on: its caller's deadline and the out-of-memory killer strike the plugin
    /// alone. Undone meanwhile, an interface would be made after its address was freed. So whoever undoes has to wait for
    /// the delegate, and for its children, and the kernel says exactly when they are gone. (A signal at the parent's
    /// death reaches no grandchildren, says nothing of when it has struck, and has to be asked for between fork and exec.)
    ///
    /// What a delegate leaves running on purpose holds the lock as well, but only where this process is killed: in all
    /// other cases the lock ends with [`FileLock::remove`].
    pub(crate) fn share_with_children(&self) -> io::Result<()> {
        fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    }

    /// The previous holder may have removed the file between our open and our lock; then this lock is on a file
    /// that nobody else will find, and worth nothing.
    fn if_still_there(file: File, path: &Path) -> io::Result<Option<Self>> {
        let ours = file.metadata()?;
        match fs::metadata(path) {
            Ok(found) if (found.dev(), found.ino()) == (ours.dev(), ours.ino()) => {
                Ok(Some(Self { file, path: path.to_owned() }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the file while the lock is held, then lets go, for children too. Who waits for it notices and starts over.
    pub(crate) fn remove(self) -> io::Result<()> {
        let removed = fs::remove_file(&self.path);
        let unlocked = self.file.unlock();
        removed.and(unlocked)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}
