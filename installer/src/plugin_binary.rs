//! The plugin's binary in the runtime's folder.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::replace::{ReplaceError, rename_synced, replace};

/// How long a plugin may take to say its version.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between looks at a program that runs, or can't be started yet.
const STEP: Duration = Duration::from_millis(5);

/// Why the binary is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BinaryError {
    /// The file to install, or the installed one, can't be read.
    #[error("can't read the plugin {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder can't be made.
    #[error("can't make the folder {}: {source}", path.display())]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Somebody else's file has our name.
    #[error("{} is not Knap's plugin; move it away, then install again", .0.display())]
    Foreign(PathBuf),
    /// The file to install does not work here.
    #[error("{} does not run on this machine ({reason}); nothing was replaced", path.display())]
    DoesNotRun {
        /// Which file.
        path: PathBuf,
        /// What was seen.
        reason: String,
    },
    /// There is nothing to go back to.
    #[error("there is no previous version at {}; install the wanted one instead", .0.display())]
    NoPrevious(PathBuf),
    /// The file could not be put in place.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

/// What an install did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There was none.
    Installed,
    /// There was another; it is kept for a rollback.
    Upgraded,
    /// It was the same.
    Unchanged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Installed => "installed",
            Self::Upgraded => "replaced, the one before is kept for a rollback",
            Self::Unchanged => "unchanged",
        })
    }
}

/// The plugin's place, and that of the version before.
#[derive(Debug)]
pub(crate) struct PluginBinary {
    path: PathBuf,
    previous: PathBuf,
}

impl PluginBinary {
    /// The plugin in the folder that the runtime searches.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("knap"), previous: folder.join(".knap.previous") }
    }

    /// The installed plugin.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The version before, where there is one.
    pub(crate) fn previous(&self) -> &Path {
        &self.previous
    }

    /// Puts `source` in place if it is another than the installed one, after seeing it run from there.
    pub(crate) fn install(&self, source: &Path) -> Result<Outcome, BinaryError> {
        let new = read(source)?;
        let old = self.installed()?;
        if old.as_ref() == Some(&new) {
            return Ok(Outcome::Unchanged);
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)
                .map_err(|source| BinaryError::Folder { path: folder.to_owned(), source })?;
        }
        if let Some(old) = &old {
            replace::<BinaryError>(&self.previous, old, 0o755, |_| Ok(()))?;
        }
        replace(&self.path, &new, 0o755, runs)?;
        Ok(if old.is_some() { Outcome::Upgraded } else { Outcome::Installed })
    }

    /// Puts the version before back in place.
    pub(crate) fn rollback(&self) -> Result<(), BinaryError> {
        if !self.previous.exists() {
            return Err(BinaryError::NoPrevious(self.previous.clone()));
        }
        self.installed()?;
        runs(&self.previous)?;
        Ok(rename_synced(&self.previous, &self.path)?)
    }

    /// The installed plugin's bytes, where there is one; an error if the file is somebody else's.
    pub(crate) fn installed(&self) -> Result<Option<Vec<u8>>, BinaryError> {
        if !self.path.exists() {
            return Ok(None);
        }
        if !is_ours(&self.path) {
            return Err(BinaryError::Foreign(self.path.clone()));
        }
        read(&self.path).map(Some)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BinaryError> {
    fs::read(path).map_err(|source| BinaryError::Read { path: path.to_owned(), source })
}

/// Ours says so when it is started without a command, as CNI plugins do.
fn is_ours(path: &Path) -> bool {
    run(path, None).is_ok_and(|said| said.stderr.starts_with("knap "))
}

/// Whether a file works as a CNI plugin on this machine.
fn runs(path: &Path) -> Result<(), BinaryError> {
    let failed = |reason: String| BinaryError::DoesNotRun { path: path.to_owned(), reason };
    let said = run(path, Some("VERSION")).map_err(|error| failed(error.to_string()))?;
    if said.stdout.contains("supportedVersions") {
        Ok(())
    } else {
        Err(failed(format!("asked for its CNI versions it printed {:?}", said.stdout)))
    }
}

/// What a program printed.
struct Said {
    stdout: String,
    stderr: String,
}

/// Runs a plugin with nothing on stdin and one variable, and kills it when it takes too long.
fn run(path: &Path, cni_command: Option<&str>) -> io::Result<Said> {
    let deadline = Instant::now() + PATIENCE;
    let mut child = start(path, cni_command, deadline)?;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer in 5 s"));
        }
        thread::sleep(STEP);
    }
    Ok(Said { stdout: first_bytes(child.stdout.take())?, stderr: first_bytes(child.stderr.take())? })
}

/// A file that was written a moment ago may still be open for writing, in a process that was forked meanwhile and has
/// not come to its exec: then it is tried again.
fn start(path: &Path, cni_command: Option<&str>, deadline: Instant) -> io::Result<Child> {
    loop {
        let started = Command::new(path)
            .env_clear()
            .envs(cni_command.map(|command| ("CNI_COMMAND", command)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match started {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                thread::sleep(STEP);
            }
            started => return started,
        }
    }
}

/// A plugin's answer is short; more is not read.
fn first_bytes(stream: Option<impl Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(4096).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
