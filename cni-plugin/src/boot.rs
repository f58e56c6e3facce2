//! Which boot of this machine is running: what an attachment lives and dies with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use knap_protocol::{BootId, InvalidName};

/// Where the kernel tells its boot's ID.
pub const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The boot's ID can't be known, so no lease may be asked for.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The file can't be read.
    #[error("can't read this boot's ID from {}: {source}; /proc must be mounted", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} does not hold a boot ID: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with its text.
        source: InvalidName,
    },
}

/// The ID of the running boot. Builds with fault points read `instead` in place of the kernel's file, so that a
/// test can play a reboot; all others ignore it.
pub fn current(instead: Option<&Path>) -> Result<BootId, BootError> {
    let instead = instead.filter(|_| cfg!(feature = "fault-points"));
    read(instead.unwrap_or(Path::new(BOOT_ID_FILE)))
}

fn read(path: &Path) -> Result<BootId, BootError> {
    let text =
        fs::read_to_string(path).map_err(|source| BootError::Read { path: path.to_owned(), source })?;
    text.trim().parse().map_err(|source| BootError::Malformed { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_boot_id_is_stable() {
        assert_eq!(current(None).unwrap(), current(None).unwrap());
    }

    #[test]
    fn a_file_that_holds_no_boot_id_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("boot_id");
        let missing = read(&file).unwrap_err().to_string();
        assert!(missing.contains(file.to_str().unwrap()), "{missing}");
        fs::write(&file, "boot-2\n").unwrap();
        assert_eq!(read(&file).unwrap().as_str(), "boot-2");
        fs::write(&file, "two words").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("two words"));
    }
}
