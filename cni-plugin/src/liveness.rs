//! Whether an attachment's sandbox still lives: what may be torn down without its runtime's DEL.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use knap_protocol::BootId;
use nix::libc;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};

use crate::netns::{NetnsIdentity, folder_of, is_namespace};

/// What can be said of a sandbox's namespace. Only `Dead` permits a teardown; an address that is freed too late
/// is a nuisance, one that is freed too early is somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// It is the namespace that ADD was given.
    Alive,
    /// It is certainly gone.
    Dead(Death),
    /// Nothing is certain.
    Unknown(Doubt),
}

/// Why a namespace is certainly gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The machine has booted since.
    OtherBoot,
    /// Another namespace has taken the path.
    OtherNamespace,
    /// The folder is the one ADD saw, and the path is no more in it.
    PathGone,
}

/// Why nothing is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// A path in /proc names a process, and process IDs come again.
    ProcPath,
    /// A symbolic link: where it leads may have changed while the namespace lives on.
    SymbolicLink,
    /// What is at the path is no namespace: as it looks where the host's mounts are not propagated to.
    NotANamespace,
    /// The folder itself is another than ADD saw, or gone: a mount may be missing.
    OtherFolder,
    /// The path can't be looked at.
    Unreadable(io::ErrorKind),
}

/// What is at a namespace's path, wherever that leads: what a delegate finds there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupant {
    /// Nothing.
    Nothing,
    /// The namespace that ADD was given.
    ItsNamespace,
    /// Another namespace.
    AnotherNamespace,
    /// A file that is no namespace, or one that can't be looked at.
    NoNamespace,
}

impl fmt::Display for Death {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OtherBoot => "the machine has booted since",
            Self::OtherNamespace => "its path is another namespace now",
            Self::PathGone => "its path is gone",
        })
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProcPath => formatter.write_str("its path is in /proc, where process IDs come again"),
            Self::SymbolicLink => formatter.write_str("its path is a symbolic link"),
            Self::NotANamespace => formatter.write_str("its path is no namespace as seen from here"),
            Self::OtherFolder => formatter.write_str("its folder is gone or another one"),
            Self::Unreadable(kind) => write!(formatter, "its path can't be looked at ({kind})"),
        }
    }
}

/// Judges a namespace that was `then` in the boot `boot_then`, seen from the boot `boot_now`.
pub fn of(then: &NetnsIdentity, boot_now: &BootId, boot_then: &BootId) -> Liveness {
    if boot_now != boot_then {
        return Liveness::Dead(Death::OtherBoot);
    }
    if then.path.starts_with("/proc") {
        return Liveness::Unknown(Doubt::ProcPath);
    }
    look(then).unwrap_or_else(|error| Liveness::Unknown(Doubt::Unreadable(error.kind())))
}

/// Looks at the path alone. What is not there may be hidden: whether the namespace lives, [`of`] says.
pub fn occupant(then: &NetnsIdentity) -> Occupant {
    let found = || {
        let file = open(&then.path)?;
        if !is_namespace(&file)? {
            return Ok(Occupant::NoNamespace);
        }
        let found = file.metadata()?;
        let is_its = (found.dev(), found.ino()) == (then.dev, then.inode);
        Ok(if is_its { Occupant::ItsNamespace } else { Occupant::AnotherNamespace })
    };
    found().unwrap_or_else(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Occupant::Nothing,
        _ => Occupant::NoNamespace,
    })
}

/// O_NONBLOCK: a FIFO at the path must not hang us.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn look(then: &NetnsIdentity) -> io::Result<Liveness> {
    // The folder first: a path is gone only if it is gone from the folder that held it.
    let folder = folder_of(&then.path);
    if !is_folder_of_then(folder, then)? {
        return Ok(Liveness::Unknown(Doubt::OtherFolder));
    }
    if statfs(folder)?.filesystem_type() == PROC_SUPER_MAGIC {
        return Ok(Liveness::Unknown(Doubt::ProcPath));
    }
    match fs::symlink_metadata(&then.path) {
        Ok(found) if found.is_symlink() => return Ok(Liveness::Unknown(Doubt::SymbolicLink)),
        Ok(_) => {}
        // The folder again: had it been unmounted in between, its absence would mean nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_folder_of_then(folder, then)? => {
            return Ok(Liveness::Dead(Death::PathGone));
        }
        Err(error) => return Err(error),
    }
    let file = open(&then.path)?;
    let found = file.metadata()?;
    Ok(if !is_namespace(&file)? {
        Liveness::Unknown(Doubt::NotANamespace)
    } else if (found.dev(), found.ino()) == (then.dev, then.inode) {
        Liveness::Alive
    } else {
        Liveness::Dead(Death::OtherNamespace)
    })
}

fn is_folder_of_then(folder: &Path, then: &NetnsIdentity) -> io::Result<bool> {
    match fs::metadata(folder) {
        Ok(found) => Ok((found.dev(), found.ino()) == (then.folder_dev, then.folder_inode)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use nix::mount::{MntFlags, umount, umount2};

    use super::*;
    use crate::fixture::{as_root_in_namespaces, bind, named_namespace, small_disk};
    use crate::netns::Netns;

    fn boot(id: &str) -> BootId {
        id.parse().unwrap()
    }

    fn now(then: &NetnsIdentity) -> Liveness {
        of(then, &boot("b1"), &boot("b1"))
    }

    #[test]
    fn a_sandbox_lives_until_its_path_is_gone_or_anothers() {
        as_root_in_namespaces(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sandbox");
            named_namespace(&path, || {});
            let netns = Netns::open(&path).unwrap();
            let then = netns.identity();
            assert_eq!(now(then), Liveness::Alive);
            assert_eq!(of(then, &boot("b2"), &boot("b1")), Liveness::Dead(Death::OtherBoot));

            // Held open by `netns`, so its inode can't come again meanwhile.
            let seen = || (now(then), occupant(then));
            assert_eq!(seen(), (Liveness::Alive, Occupant::ItsNamespace));
            umount2(&path, MntFlags::MNT_DETACH).unwrap();
            assert_eq!(seen(), (Liveness::Unknown(Doubt::NotANamespace), Occupant::NoNamespace));
            fs::remove_file(&path).unwrap();
            assert_eq!(seen(), (Liveness::Dead(Death::PathGone), Occupant::Nothing));
            named_namespace(&path, || {});
            assert_eq!(seen(), (Liveness::Dead(Death::OtherNamespace), Occupant::AnotherNamespace));
        });
    }

    #[test]
    fn a_missing_mount_is_no_proof() {
        as_root_in_namespaces(|| {
            let above = tempfile::tempdir().unwrap();
            let folder = above.path().join("netns");
            fs::create_dir(&folder).unwrap();
            let path = folder.join("sandbox");
            named_namespace(&path, || {});
            let then = Netns::open(&path).unwrap().identity().clone();
            small_disk(&folder, 4096);
            assert_eq!(now(&then), Liveness::Unknown(Doubt::OtherFolder));
            umount(&folder).unwrap();
            assert_eq!(now(&then), Liveness::Alive);
            // The folder bound over itself is still the same folder, but what is mounted in it is hidden.
            bind(&folder, &folder);
            assert_eq!(now(&then), Liveness::Unknown(Doubt::NotANamespace));
            umount(&folder).unwrap();
            let moved = NetnsIdentity { path: above.path().join("no/sandbox"), ..then.clone() };
            assert_eq!(now(&moved), Liveness::Unknown(Doubt::OtherFolder));
        });
    }

    #[test]
    fn paths_that_name_processes_or_lead_elsewhere_are_left_alone() {
        let identity = |path: &Path| NetnsIdentity {
            path: path.to_owned(),
            dev: 0,
            inode: 0,
            folder_dev: fs::metadata(folder_of(path)).map_or(0, |found| found.dev()),
            folder_inode: fs::metadata(folder_of(path)).map_or(0, |found| found.ino()),
        };
        assert_eq!(now(&identity(Path::new("/proc/1/ns/net"))), Liveness::Unknown(Doubt::ProcPath));
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/proc/1/ns/net", &link).unwrap();
        assert_eq!(now(&identity(&link)), Liveness::Unknown(Doubt::SymbolicLink));
        let elsewhere = folder.path().join("elsewhere");
        std::os::unix::fs::symlink("/proc/self/ns", &elsewhere).unwrap();
        assert_eq!(now(&identity(&elsewhere.join("net"))), Liveness::Unknown(Doubt::ProcPath));
    }
}
