//! A machine of its own, made of namespaces: network, mounts and processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::kubernetes::daemon::Daemon;
use crate::{Sandbox, eventually};

const SCRIPT: &str = include_str!("machine.sh");

/// A machine with a disk. It boots, and loses power: then all that ran on it, its mounts and its links are gone, and the disk is
/// as it was.
#[derive(Debug)]
pub struct Machine {
    folder: PathBuf,
    shared: Vec<PathBuf>,
    powered: Option<Powered>,
}

/// What is there while a machine has power; in the order in which it ends.
#[derive(Debug)]
struct Powered {
    first: Pid,
    unshare: Daemon,
    network: Sandbox,
}

impl Machine {
    /// One without power, whose things are in this folder and which sees these folders of the outside at their own paths.
    pub(super) fn new(folder: PathBuf, shared: Vec<PathBuf>) -> Self {
        let machine = Self { folder, shared, powered: None };
        fs::create_dir_all(machine.disk()).expect("a folder for a disk");
        // Not on the disk of the outside: containers' file systems can't be stacked on every kind.
        mount(Some("knap-test"), &machine.disk(), Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .unwrap_or_else(|error| panic!("tmpfs on {}: {error}", machine.disk().display()));
        machine
    }

    /// Gives it power: a network namespace with loopback, and a first process.
    pub(super) fn boot(&mut self) {
        assert!(self.powered.is_none(), "this machine runs already");
        let network = Sandbox::new(&self.folder.join("netns"), "machine");
        let script = self.folder.join("machine.sh");
        fs::write(&script, SCRIPT).expect("machine.sh");
        let _ = fs::remove_file(self.folder.join("up"));
        let mut arguments = vec![format!("--net={}", network.path().display())];
        arguments.extend(["--", "unshare", "--mount", "--pid", "--fork", "--kill-child"].map(str::to_owned));
        arguments.extend(["--propagation", "private", "--", "bash"].map(str::to_owned));
        let folders = [&[script, self.folder.clone()], self.shared.as_slice()].concat();
        arguments.extend(folders.iter().map(|path| path.display().to_string()));
        let unshare = Daemon::start(Path::new("nsenter"), &arguments, &self.folder.join("machine.log"));
        let first = eventually("a machine is up", || {
            assert!(unshare.is_running(), "a machine did not boot: {}", unshare.last_words());
            self.folder.join("up").exists().then(|| only_child(unshare.pid()))
        });
        self.powered = Some(Powered { first, unshare, network });
    }

    /// Takes its power away, in the midst of whatever it does.
    pub(super) fn power_off(&mut self) {
        let Some(Powered { first, mut unshare, network }) = self.powered.take() else { return };
        // With the first process of their namespace all others end, and it is not gone before they are.
        let _ = kill(first, Signal::SIGKILL);
        unshare.ended();
        drop(network);
    }

    /// Its network namespace.
    pub fn network(&self) -> &Sandbox {
        &self.powered().network
    }

    /// Where a path of its disk is, seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.disk().join(inside.trim_start_matches('/'))
    }

    /// Writes a file on its disk, and the folders above.
    pub fn write(&self, inside: &str, text: impl AsRef<[u8]>) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder on a machine's disk");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Copies a file to its disk, with its mode, so that nobody ever runs half of it.
    pub fn install(&self, source: &Path, inside: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder on a machine's disk");
        let draft = path.with_extension("draft");
        fs::copy(source, &draft).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        fs::rename(&draft, &path).expect("an installed file");
    }

    /// Starts a program inside that ends with this value.
    pub(super) fn start(
        &self,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
        log: &str,
    ) -> Daemon {
        let mut all = self.entrance();
        all.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(str::to_owned));
        all.push(program.display().to_string());
        all.extend_from_slice(arguments);
        Daemon::start_with(Path::new("nsenter"), &all, environment, &self.folder.join(log))
    }

    /// A command that will run inside.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.entrance()).arg(program);
        command
    }

    /// Runs a program inside, to its end, whatever that is.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        let output = self.command(program).args(arguments).output();
        output.unwrap_or_else(|error| panic!("{}: {error}", program.display()))
    }

    /// The last lines of a log of [`Machine::start`].
    pub(super) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    fn entrance(&self) -> Vec<String> {
        let target = format!("--target={}", self.powered().first);
        [&target, "--mount", "--pid", "--net", "--root", "--wd", "--"].map(str::to_owned).into()
    }

    fn powered(&self) -> &Powered {
        self.powered.as_ref().expect("a machine that has power")
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power_off();
        let _ = umount2(&self.disk(), MntFlags::MNT_DETACH);
    }
}

fn only_child(parent: Pid) -> Pid {
    let children =
        fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("a process's children");
    Pid::from_raw(children.split_whitespace().next().and_then(|child| child.parse().ok()).expect("a child"))
}
