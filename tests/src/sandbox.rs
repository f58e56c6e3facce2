//! Network namespaces, as pods and as the machine that they run on.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;

/// A network namespace, pinned by a bind mount, loopback up. Dropping it removes it and all links in it.
#[derive(Debug)]
pub struct Sandbox {
    path: PathBuf,
}

/// # Panics
/// With what to do, unless the test runs as root.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this tier makes network namespaces and needs root: run it as root, or through `make test`, which says what it skips"
    );
}

impl Sandbox {
    /// Makes a namespace at `folder/name`, as runtimes make theirs under /var/run/netns.
    pub fn new(folder: &Path, name: &str) -> Self {
        let sandbox = Self::pin(folder, name, || unshare(CloneFlags::CLONE_NEWNET));
        sandbox.ip(&["link", "set", "lo", "up"]);
        sandbox
    }

    /// The namespace that the test itself runs in, under a path of its own. Links made in it outlive this value.
    pub fn outermost(folder: &Path, name: &str) -> Self {
        Self::pin(folder, name, || Ok(()))
    }

    /// Pins the namespace that a thread is in after this.
    fn pin(folder: &Path, name: &str, enter: impl FnOnce() -> nix::Result<()> + Send) -> Self {
        require_root();
        std::fs::create_dir_all(folder).expect("a folder for network namespaces");
        let path = folder.join(name);
        File::create_new(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        std::thread::scope(|scope| {
            let pinned = scope.spawn(|| {
                enter()?;
                mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            });
            let pinned = pinned.join().expect("the thread that makes the namespace");
            pinned.unwrap_or_else(|error| panic!("network namespace {}: {error}", path.display()));
        });
        Self { path }
    }

    /// What CNI_NETNS says.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path.display())).arg("--").arg(program);
        command
    }

    /// Runs a program inside, to its end, whatever that is.
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Runs `ip` inside; returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn ip(&self, args: &[&str]) -> String {
        let output = self.run("ip", args);
        assert!(
            output.status.success(),
            "ip {} in {}: {}",
            args.join(" "),
            self.path.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("ip prints UTF-8")
    }

    /// Runs `ip -json` inside.
    pub fn ip_json(&self, args: &[&str]) -> Value {
        let printed = self.ip(&[&["-json", "-details"], args].concat());
        // Older iproute2 prints nothing at all for an empty list.
        if printed.trim().is_empty() {
            return Value::Array(Vec::new());
        }
        serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("ip {}: {error}: {printed}", args.join(" ")))
    }

    /// The names of its links, without loopback.
    pub fn interfaces(&self) -> Vec<String> {
        let links = self.ip_json(&["link", "show"]);
        let names =
            links.as_array().expect("a list of links").iter().filter_map(|link| link["ifname"].as_str());
        names.filter(|name| *name != "lo").map(str::to_owned).collect()
    }

    /// An interface under this name, as a delegate would have made it. A bridge, since every kernel has those.
    pub fn add_interface(&self, name: &str) {
        self.ip(&["link", "add", name, "type", "bridge"]);
    }

    /// Runs a closure in a thread inside: its sockets belong to this namespace.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter_for_good();
                inside()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Takes the calling thread into the namespace, with all that it starts from now on.
    pub fn enter_for_good(&self) {
        let namespace = File::open(&self.path).expect("an open network namespace");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("setns");
    }

    /// Removes the namespace, as a runtime does or as it is when a machine has lost it.
    pub fn remove(self) {
        drop(self);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Both fail only when the test has removed them itself.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_file(&self.path);
    }
}
