//! The groups that a kubelet puts its pods into, beside all others of this machine.

use std::fs;
use std::path::{Path, PathBuf};

use crate::eventually;

const ROOT: &str = "/sys/fs/cgroup";
/// What a kubelet asks for, in the one tree of version 2.
const CONTROLLERS: &str = "+cpuset +cpu +io +memory +pids";

/// A group in every tree. Dropping it removes it, once all in it has ended.
#[derive(Debug)]
pub(super) struct Cgroups {
    name: String,
}

impl Cgroups {
    /// Makes them.
    pub(super) fn new(name: &str) -> Self {
        let one_tree = Path::new(ROOT).join("cgroup.controllers").exists();
        for tree in trees() {
            if one_tree {
                fs::write(tree.join("cgroup.subtree_control"), CONTROLLERS).unwrap_or_else(|error| {
                    panic!("{}: {error}: pods' cgroups can't be made here", tree.display())
                });
            }
            let group = tree.join(name);
            fs::create_dir(&group).unwrap_or_else(|error| panic!("{}: {error}", group.display()));
        }
        Self { name: name.to_owned() }
    }

    /// The name, for a kubelet's cgroupRoot.
    pub(super) fn root(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes the groups of this name, and all in them. They are empty a moment after their last process has ended.
pub(crate) fn remove(name: &str) {
    for group in trees().into_iter().map(|tree| tree.join(name)) {
        eventually(&format!("{} can be removed", group.display()), || {
            remove_tree(&group);
            (!group.exists()).then_some(())
        });
    }
}

fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// The one tree of version 2, or a tree per controller of version 1.
fn trees() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    // Where one tree has several controllers, their names are links to it.
    entries.filter(|path| path.is_dir() && !path.is_symlink()).collect()
}
