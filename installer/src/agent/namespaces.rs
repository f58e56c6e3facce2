//! Whether this process sees the host's network namespaces, as `knap reap` has to, and could enter one.
//!
//! Runtimes mount each over a plain file. Where the host's mounts are not propagated to us, only the plain file is seen of
//! those made after our start: their attachments could never be told dead from alive.
//!
//! Into a namespace go the plugins that a reap calls. CNI's own find the one that they came from as /proc/PID/task/TID/ns/net,
//! with their IDs as they know them, in the /proc of the host's root: both have to be of one namespace of process IDs.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process;

use nix::sys::statfs::statfs;

use super::board::Problem;
use super::node::Node;

/// NSFS_MAGIC of linux/magic.h; nix does not have it for musl.
const NSFS: u64 = 0x6e73_6673;

/// The plain files seen at the last look: one that is about to be mounted over is none at the next.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    plain: HashSet<(u64, u64)>,
}

impl Namespaces {
    /// Looks at the host's folder of namespaces.
    pub(crate) fn look(&mut self, node: &Node) -> Vec<Problem> {
        let folder = node.paths.root().folder(&node.settings.netns_dir);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut problems = self.look_into(&folder, &node.settings.netns_dir, &mounts);
        problems.extend(other_process_ids(node.paths.root().path(), process::id()));
        problems
    }

    fn look_into(&mut self, folder: &Path, on_host: &Path, mounts: &str) -> Vec<Problem> {
        let plain = plain_files(folder);
        let still: Vec<&String> =
            plain.iter().filter(|(id, _)| self.plain.contains(id)).map(|(_, name)| name).collect();
        let problem = still.first().map(|name| {
            let seen = format!("{} in {} is no namespace as seen from here", name, on_host.display());
            if is_propagated(mounts, folder) {
                let leftover = "a leftover of the runtime: remove it once no pod uses it";
                Problem::noted("NamespaceFileLeft", format!("{seen}: {leftover}"))
            } else {
                let remedy = "mount the folder with mountPropagation HostToContainer";
                Problem::blocks("NamespaceFilesHidden", format!("{seen}: {remedy}"))
            }
        });
        let problems = problem.into_iter().collect();
        self.plain = plain.into_iter().map(|(id, _)| id).collect();
        problems
    }
}

/// What to do where the host knows us by another process ID than we do; nothing where that can't be told.
fn other_process_ids(root: &Path, own: u32) -> Option<Problem> {
    let on_host: u32 = fs::read_link(root.join("proc/self")).ok()?.to_str()?.parse().ok()?;
    (on_host != own).then(|| {
        let text = "the agent's pod has process IDs of its own: CNI plugins that `knap reap` calls can't enter the namespace of a pod \
                    that runs, as for an ADD that died and on a fenced node; set hostPID: true in the DaemonSet";
        Problem::noted("HostProcessesHidden", text.to_owned())
    })
}

/// Files in the folder that are no namespaces, sorted by name.
fn plain_files(folder: &Path) -> Vec<((u64, u64), String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut plain: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let found = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
            let kind = u64::try_from(statfs(&path).ok()?.filesystem_type().0).ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            (kind != NSFS).then_some(((found.dev(), found.ino()), name))
        })
        .collect();
    plain.sort_by(|one, other| one.1.cmp(&other.1));
    plain
}

/// Whether what the host mounts in a folder comes to be mounted here too, by `/proc/self/mountinfo` (proc(5)): its mount
/// is a peer or a slave of the host's.
fn is_propagated(mounts: &str, folder: &Path) -> bool {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let holding = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        // ID, parent, device, root, mount point, options; then optional fields up to a dash.
        let point = Path::new(fields.nth(4)?);
        let mut optional = fields.skip(1).take_while(|field| *field != "-");
        let takes = optional.any(|field| field.starts_with("shared:") || field.starts_with("master:"));
        folder.starts_with(point).then(|| (point.components().count(), takes))
    });
    // Of several at one place, the last is on top.
    holding.max_by_key(|(depth, _)| *depth).is_some_and(|(_, takes)| takes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &str = "27 1 254:0 / / rw - ext4 /dev/vda rw";

    #[test]
    fn a_plain_file_that_stays_hides_namespaces() {
        let folder = tempfile::tempdir().unwrap();
        let shared = PRIVATE.replace(" - ", " shared:1 - ");
        let mut namespaces = Namespaces::default();
        let mut look =
            |mounts: &str| format!("{:?}", namespaces.look_into(folder.path(), Path::new("/netns"), mounts));
        assert_eq!(look(PRIVATE), "[]");
        fs::write(folder.path().join("cni-1"), "").unwrap();
        assert_eq!(look(PRIVATE), "[]", "perhaps about to be mounted over");
        let hidden = look(PRIVATE);
        assert!(hidden.contains("NamespaceFilesHidden") && hidden.contains("cni-1 in /netns"), "{hidden}");
        assert!(look(&shared).contains("NamespaceFileLeft"));
        fs::remove_file(folder.path().join("cni-1")).unwrap();
        assert_eq!(look(PRIVATE), "[]");
    }

    #[test]
    fn a_process_is_known_to_the_host_as_to_itself() {
        assert!(other_process_ids(Path::new("/"), process::id()).is_none());
        let said = format!("{:?}", other_process_ids(Path::new("/"), 1));
        assert!(said.contains("HostProcessesHidden") && said.contains("hostPID: true"), "{said}");
        let unmounted = tempfile::tempdir().unwrap();
        assert!(other_process_ids(unmounted.path(), 1).is_none(), "that tells nothing");
    }

    #[test]
    fn namespaces_are_told_from_plain_files() {
        let own = Path::new("/proc/self/ns/net");
        assert_eq!(u64::try_from(statfs(own).unwrap().filesystem_type().0), Ok(NSFS));
    }

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
                      30 27 0:5 / /run rw - tmpfs tmpfs rw\n\
                      31 30 0:5 /netns /run/netns rw,noexec master:7 - tmpfs tmpfs rw";
        assert!(is_propagated(mounts, Path::new("/run/netns")));
        assert!(!is_propagated(mounts, Path::new("/run/docker/netns")));
        assert!(is_propagated(mounts, Path::new("/host/netns")));
        assert!(!is_propagated("", Path::new("/run/netns")));
    }
}
