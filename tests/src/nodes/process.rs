//! A program that runs on a node, as the kernel sees it.

use std::path::Path;

use super::node::Node;

/// What `/proc` told of it.
#[derive(Debug)]
pub struct Process {
    status: String,
    mounts: String,
}

impl Node {
    /// The one process whose command begins so.
    ///
    /// # Panics
    /// If there is none, or more than one.
    pub fn process(&self, command: &str) -> Process {
        let script = "cd /proc; for process in [0-9]*; do \
                      printf '%s %s\\n' $process \"$(tr '\\0' ' ' <$process/cmdline 2>/dev/null)\"; done";
        let listed = self.shell(script);
        let of_it = |line: &&str| line.split_once(' ').is_some_and(|(_, words)| words.starts_with(command));
        let found: Vec<&str> = listed.lines().filter(of_it).collect();
        let [line] = found.as_slice() else { panic!("{command}: {found:?} of {listed}") };
        let number = line.split(' ').next().unwrap_or_default();
        let read = |file: &str| self.shell(&format!("cat /proc/{number}/{file}"));
        Process { status: read("status"), mounts: read("mountinfo") }
    }

    fn shell(&self, script: &str) -> String {
        let output = self.machine().run(Path::new("sh"), &["-c", script]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Process {
    /// A line of `status` (proc(5)).
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn status(&self, name: &str) -> &str {
        let mut lines = self.status.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(found, _)| *found == name)
            .unwrap_or_else(|| panic!("no {name}: {}", self.status))
            .1
            .trim()
    }

    /// Whether what is mounted at `/` takes no writes.
    pub fn root_is_read_only(&self) -> bool {
        let fields = self.mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        // ID, parent, device, root, mount point, options.
        fields
            .filter(|fields| fields.get(4) == Some(&"/"))
            .all(|fields| fields[5].split(',').any(|word| word == "ro"))
    }
}
