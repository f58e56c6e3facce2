//! The plugin's binary in the runtime's folder.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host_root::HostRoot;
use crate::program::{NEVER, Program, ProgramError, Said};
use crate::replace::{ReplaceError, keep_mode, rename_synced, replace, sweep};

/// How long a plugin may take to say its version.
const PATIENCE: Duration = Duration::from_secs(5);
const MODE: u32 = 0o755;

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
    /// The runtime's folder is not where it was said to be.
    #[error("there is no folder {} on this node; name the one that the runtime searches for plugins", .0.display())]
    NoFolder(PathBuf),
    /// Somebody else's file has our name.
    #[error("{} is not Knap's plugin; move it away, then install again", .0.display())]
    Foreign(PathBuf),
    /// What the file of our name is can't be known now: it was not run to its end, or said nothing.
    #[error(
        "{} can't be run here: {reason}; see whether its folder is mounted noexec, and what the kernel's log says of it",
        path.display()
    )]
    CanNotRun {
        /// Which file.
        path: PathBuf,
        /// What was seen.
        reason: String,
    },
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
    root: HostRoot,
    /// On the host.
    folder: PathBuf,
}

impl PluginBinary {
    /// The plugin in the folder, a path of the host, that the runtime searches.
    pub(crate) fn in_folder(root: &HostRoot, folder: &Path) -> Self {
        Self { root: root.clone(), folder: folder.to_owned() }
    }

    /// The installed plugin, from here.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.at(&self.on_host())
    }

    /// The installed plugin, on the host.
    pub(crate) fn on_host(&self) -> PathBuf {
        self.folder.join("knap")
    }

    /// The version before, where there is one, from here.
    pub(crate) fn previous(&self) -> PathBuf {
        self.root.at(&self.previous_on_host())
    }

    /// Makes the folder where it is missing: right for who installs by hand. For an agent a missing folder means that
    /// it was told a wrong one.
    pub(crate) fn make_folder(&self) -> Result<(), BinaryError> {
        fs::create_dir_all(self.root.folder(&self.folder))
            .map_err(|source| BinaryError::Folder { path: self.folder.clone(), source })
    }

    /// Removes what a process that died while installing has left.
    pub(crate) fn sweep(&self) {
        sweep(&self.path());
        sweep(&self.previous());
    }

    /// Puts `source`, a file of ours, in place if it is another than the installed one, after seeing it run from there.
    pub(crate) fn install(&self, source: &Path) -> Result<Outcome, BinaryError> {
        let new = read(source)?;
        if !self.root.folder(&self.folder).is_dir() {
            return Err(BinaryError::NoFolder(self.folder.clone()));
        }
        let path = self.path();
        if fs::read(&path).is_ok_and(|present| present == new) {
            keep_mode(&path, MODE)?;
            return Ok(Outcome::Unchanged);
        }
        let old = self.installed(&new)?;
        replace::<BinaryError>(&path, &new, MODE, |staged| {
            self.runs(staged)?;
            // What is no whole plugin is nothing to go back to, and what there is to go back to may be the same already.
            match old.as_ref().filter(|old| !new.starts_with(old) && !self.begins_previous(old)) {
                Some(old) => replace::<BinaryError>(&self.previous(), old, MODE, |_| Ok(())),
                None => Ok(()),
            }
        })?;
        Ok(if old.is_some() { Outcome::Upgraded } else { Outcome::Installed })
    }

    /// Puts the version before back in place.
    pub(crate) fn rollback(&self) -> Result<(), BinaryError> {
        let previous = self.previous();
        if !previous.exists() {
            return Err(BinaryError::NoPrevious(previous));
        }
        self.installed(&[])?;
        self.runs(&previous)?;
        Ok(rename_synced(&previous, &self.path())?)
    }

    /// The installed plugin's bytes, where there is one; an error if the file is somebody else's, or may be. Half a copy of
    /// `new` or of the version before is ours, though it does not run.
    pub(crate) fn installed(&self, new: &[u8]) -> Result<Option<Vec<u8>>, BinaryError> {
        let path = self.path();
        if !path.exists() {
            return Ok(None);
        }
        let present = read(&path)?;
        match self.version() {
            Ok(Some(_)) => Ok(Some(present)),
            _ if new.starts_with(&present) || self.begins_previous(&present) => Ok(Some(present)),
            Ok(None) => Err(BinaryError::Foreign(self.on_host())),
            Err(error) => Err(error),
        }
    }

    /// The installed plugin's version; none where it says something else. Ours says it when it is started without a command, as
    /// CNI plugins do.
    pub(crate) fn version(&self) -> Result<Option<String>, BinaryError> {
        let failed = |reason: String| BinaryError::CanNotRun { path: self.on_host(), reason };
        let said = self.say(&self.on_host(), &[]).map_err(|error| failed(error.to_string()))?;
        if said.stdout.is_empty() && said.stderr.is_empty() {
            return Err(failed("it printed nothing".to_owned()));
        }
        let version = said.stderr.strip_prefix("knap ").and_then(|text| text.split_once(':'));
        Ok(version.map(|(version, _)| version.to_owned()))
    }

    /// Whether a file beside the plugin works as a CNI plugin on this machine.
    fn runs(&self, path: &Path) -> Result<(), BinaryError> {
        let on_host = self.folder.join(path.file_name().unwrap_or_default());
        let failed = |reason: String| BinaryError::DoesNotRun { path: on_host.clone(), reason };
        let said = self
            .say(&on_host, &[("CNI_COMMAND", OsStr::new("VERSION"))])
            .map_err(|error| failed(error.to_string()))?;
        if said.stdout.contains("supportedVersions") {
            return Ok(());
        }
        let heard = if said.stdout.is_empty() { said.stderr } else { said.stdout };
        Err(failed(format!("asked for its CNI versions it printed {heard:?}")))
    }

    fn say(&self, path: &Path, environment: &[(&str, &OsStr)]) -> Result<Said, ProgramError> {
        let root = &self.root;
        Program { root, path, arguments: &[], environment, stdin: "", patience: PATIENCE }.run(&NEVER)
    }

    fn begins_previous(&self, bytes: &[u8]) -> bool {
        read(&self.previous()).is_ok_and(|previous| previous.starts_with(bytes))
    }

    fn previous_on_host(&self) -> PathBuf {
        self.folder.join(".knap.previous")
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BinaryError> {
    fs::read(path).map_err(|source| BinaryError::Read { path: path.to_owned(), source })
}
