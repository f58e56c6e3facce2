//! The plugin on a node: replaced by the installer, and called as Multus calls it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::node::Node;
use crate::{Answer, Call};

/// Where a runtime finds its plugins.
const FOLDER: &str = "/opt/cni/bin";

impl Node {
    /// Has an installer, both programs in folders that the node sees, put a plugin in place: by the code that the agent does it with.
    ///
    /// # Panics
    /// If it fails.
    pub fn replace_knap(&self, installer: &Path, plugin: &Path) {
        let mut command = self.machine().command(installer);
        command.args([
            "install",
            "--node",
            &self.name,
            "--bin-dir",
            FOLDER,
            "--state-dir",
            "/var/lib/knap-node",
        ]);
        // The node file stays the agent's.
        command.args([
            "--config-dir",
            "/run/knap-tests",
            "--token-file",
            "/none",
            "--endpoint",
            "http://127.0.0.1:1",
        ]);
        let output = command.arg("--plugin").arg(plugin).output().expect("knap-installer runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes a network namespace, as a runtime does; its path on the node.
    pub fn make_sandbox(&self, name: &str) -> PathBuf {
        let made = self.machine().run(Path::new("ip"), &["netns", "add", name]);
        assert!(made.status.success(), "ip netns add {name}: {}", String::from_utf8_lossy(&made.stderr));
        Path::new("/var/run/netns").join(name)
    }

    /// Removes one.
    pub fn remove_sandbox(&self, name: &str) {
        let removed = self.machine().run(Path::new("ip"), &["netns", "delete", name]);
        assert!(
            removed.status.success(),
            "ip netns delete {name}: {}",
            String::from_utf8_lossy(&removed.stderr)
        );
    }

    /// Runs the installed plugin.
    pub fn call(&self, call: &Call) -> Answer {
        let mut command: Command = self.machine().command(&Path::new(FOLDER).join("knap"));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("CNI_PATH", FOLDER);
        call.run_as(command)
    }

    /// What Knap has in the runtime's folder.
    pub fn knap_files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.machine().path(FOLDER)).expect("the runtime's folder").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name.contains("knap")).collect();
        names.sort();
        names
    }
}
