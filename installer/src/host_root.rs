//! Paths as the host sees them, and where they are from here.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The kernel follows no more than this either.
const MOST_LINKS: usize = 40;

/// The host's root folder as this process sees it: `/` on the host itself, in a pod where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostRoot(PathBuf);

impl HostRoot {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Whether the host's paths are ours.
    pub(crate) fn is_own(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a file of the host is from here. Symbolic links on the way to it lead where they lead on the host
    /// (`/var/run -> /run`); one at the very end is left as it is.
    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => self.folder(folder).join(name),
            _ => self.folder(path),
        }
    }

    /// The same for a folder: a link at the very end is followed too.
    pub(crate) fn folder(&self, path: &Path) -> PathBuf {
        if self.is_own() {
            return path.to_owned();
        }
        let mut todo: Vec<OsString> = parts(path).rev().collect();
        let mut inside = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                inside.pop();
                continue;
            }
            match fs::read_link(self.0.join(&inside).join(&part)) {
                Ok(target) if links < MOST_LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        inside.clear();
                    }
                    todo.extend(parts(&target).rev());
                }
                _ => inside.push(part),
            }
        }
        self.0.join(inside)
    }
}

/// The names in a path, `..` included.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_where_they_lead_on_the_host() {
        let root = tempfile::tempdir().unwrap();
        let here = root.path();
        fs::create_dir_all(here.join("run/netns")).unwrap();
        fs::create_dir_all(here.join("var/opt/cni")).unwrap();
        symlink("/run", here.join("var/run")).unwrap();
        symlink("var/opt", here.join("opt")).unwrap();
        symlink("../../../../run/netns", here.join("var/up")).unwrap();
        symlink("loop", here.join("loop")).unwrap();
        let host = HostRoot::new(here);
        assert_eq!(host.folder(Path::new("/var/run/netns")), here.join("run/netns"));
        assert_eq!(host.at(Path::new("/opt/cni/bin")), here.join("var/opt/cni/bin"));
        assert_eq!(host.folder(Path::new("/var/up/x")), here.join("run/netns/x"));
        assert_eq!(host.at(Path::new("/var/run")), here.join("var/run"), "the link itself");
        assert_eq!(host.at(Path::new("/../../etc/x")), here.join("etc/x"), "never above");
        assert_eq!(host.at(Path::new("/loop/x")), here.join("loop/x"));
    }

    #[test]
    fn on_the_host_itself_a_path_stays_as_it_is() {
        let host = HostRoot::new(Path::new("/"));
        assert_eq!(host.at(Path::new("/var/run/netns")), Path::new("/var/run/netns"));
    }
}
