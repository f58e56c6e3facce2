//! A sandbox's network namespace: opened once, recognised later, asked about its interfaces.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use knap_protocol::InterfaceName;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::fstatfs;
use serde::{Deserialize, Serialize};

use crate::netlink::Netlink;

/// The calling thread's own namespace. Not `/proc/self`, which is the main thread's.
pub(crate) const OWN: &str = "/proc/thread-self/ns/net";

/// A namespace that can't be used, or not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Nothing is at the path.
    #[error("network namespace {} does not exist; the sandbox is gone or was never made", path.display())]
    Missing {
        /// CNI_NETNS.
        path: PathBuf,
    },
    /// Something else is at the path.
    #[error(
        "{} is not a network namespace; where it should be one, check that this process sees the host's mounts \
         (mount propagation HostToContainer)", path.display()
    )]
    NotANamespace {
        /// CNI_NETNS.
        path: PathBuf,
    },
    /// The path is the namespace this process runs in: what the delegates do would hit the host.
    #[error("{} is the namespace of the plugin itself, not a sandbox's; pods of the host network get no interfaces",
        path.display())]
    Own {
        /// CNI_NETNS.
        path: PathBuf,
    },
    /// The path can't be opened or looked at.
    #[error("can't open network namespace {}: {source}", path.display())]
    Open {
        /// CNI_NETNS.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The namespace is there, but entering or asking it failed.
    #[error("can't look into network namespace {}: {source}", path.display())]
    Look {
        /// CNI_NETNS.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What tells one namespace from another that later takes its path (see [`liveness`](crate::liveness)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetnsIdentity {
    /// CNI_NETNS, as given.
    pub path: PathBuf,
    /// Device of the namespace's file.
    pub dev: u64,
    /// Inode of the namespace's file.
    pub inode: u64,
    /// Device of the folder that the path is in.
    pub folder_dev: u64,
    /// Inode of the folder that the path is in.
    pub folder_inode: u64,
}

/// A sandbox's namespace, held open: it stays the same one, whatever happens to its path.
#[derive(Debug)]
pub struct Netns {
    file: File,
    identity: NetnsIdentity,
}

impl Netns {
    /// Opens the namespace at `path`, and makes sure that it is a network namespace and not the caller's own.
    /// Has no side effect.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        let open_error = |source| NetnsError::Open { path: path.to_owned(), source };
        // O_NONBLOCK: a FIFO at the path must not hang us.
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Err(NetnsError::Missing { path: path.to_owned() });
            }
            Err(source) => return Err(open_error(source)),
        };
        if !is_network_namespace(&file).map_err(open_error)? {
            return Err(NetnsError::NotANamespace { path: path.to_owned() });
        }
        let found = file.metadata().map_err(open_error)?;
        let own = fs::metadata(OWN).map_err(open_error)?;
        if (found.dev(), found.ino()) == (own.dev(), own.ino()) {
            return Err(NetnsError::Own { path: path.to_owned() });
        }
        let folder = fs::metadata(folder_of(path)).map_err(open_error)?;
        let identity = NetnsIdentity {
            path: path.to_owned(),
            dev: found.dev(),
            inode: found.ino(),
            folder_dev: folder.dev(),
            folder_inode: folder.ino(),
        };
        Ok(Self { file, identity })
    }

    /// What to remember of it.
    pub fn identity(&self) -> &NetnsIdentity {
        &self.identity
    }

    /// Whether an interface of that name is in it.
    pub fn has_interface(&self, name: &InterfaceName) -> Result<bool, NetnsError> {
        self.inside(|| Ok(Netlink::open()?.link(name)?.is_some()))
            .map_err(|source| NetnsError::Look { path: self.identity.path.clone(), source })
    }

    /// Runs `work` inside the namespace, on a thread of its own: the calling thread never leaves its namespace,
    /// so an early return can't leave it in the wrong one.
    fn inside<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let entered = move || {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
                work()
            };
            let thread = std::thread::Builder::new().spawn_scoped(scope, entered)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread inside it panicked")))
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The folder that `path` is in; the present one for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether a file is a namespace at all: what `ip netns add` and the runtimes mount over their plain files.
pub(crate) fn is_namespace(file: &File) -> io::Result<bool> {
    // NSFS_MAGIC of linux/magic.h; nix does not have it for musl.
    const NSFS: u64 = 0x6e73_6673;
    Ok(u64::try_from(fstatfs(file)?.filesystem_type().0) == Ok(NSFS))
}

fn is_network_namespace(file: &File) -> io::Result<bool> {
    Ok(is_namespace(file)? && namespace_type(file)? == libc::CLONE_NEWNET)
}

/// Asks the kernel what kind of namespace a file is, as the `CLONE_NEW…` flag of its kind.
#[allow(unsafe_code)] // The one ioctl that says it; nix has no safe form of it.
fn namespace_type(file: &File) -> io::Result<libc::c_int> {
    mod request {
        // NS_GET_NSTYPE of linux/nsfs.h.
        nix::ioctl_none!(ns_get_nstype, 0xb7, 0x3);
    }
    // SAFETY: the request takes no argument and writes no memory; the descriptor is open as long as `file` is.
    Ok(unsafe { request::ns_get_nstype(file.as_raw_fd()) }?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{as_root_in_namespaces, named_namespace};

    #[test]
    fn what_is_no_sandbox_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        fs::write(&plain, "").unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, said) in [
            (folder.path().join("missing").as_path(), "does not exist"),
            (&plain, "is not a network namespace"),
            (&fifo, "is not a network namespace"),
            (Path::new("/proc/self/ns/mnt"), "is not a network namespace"),
            (Path::new(OWN), "the plugin itself"),
        ] {
            let error = Netns::open(path).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_sandbox_is_asked_without_leaving_ones_own_namespace() {
        as_root_in_namespaces(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sandbox");
            named_namespace(&path, || {
                Netlink::open().unwrap().create_veth("net1", "peer", [2, 0, 0, 0, 0, 1]).unwrap();
            });
            let netns = Netns::open(&path).unwrap();
            let before = fs::metadata(OWN).unwrap().ino();
            assert!(netns.has_interface(&"net1".parse().unwrap()).unwrap());
            assert!(netns.has_interface(&"lo".parse().unwrap()).unwrap());
            assert!(!netns.has_interface(&"net2".parse().unwrap()).unwrap());
            assert!(Netlink::open().unwrap().link(&"net1".parse().unwrap()).unwrap().is_none());
            assert_eq!(fs::metadata(OWN).unwrap().ino(), before);
            assert_eq!(netns.identity().path, path);
        });
    }
}
