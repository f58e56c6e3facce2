//! One long-running program of a test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program that ends with this value, or with the test's process, however that ends.
#[derive(Debug)]
pub(crate) struct Daemon {
    pid: Pid,
    /// Waits for the program's end. The kernel ends the program with the thread that started it, so it is this one that did.
    guard: Option<JoinHandle<ExitStatus>>,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program whose output is appended to `log`.
    pub(crate) fn start(program: &Path, arguments: &[String], log: &Path) -> Self {
        Self::start_with(program, arguments, &[], log)
    }

    /// The same, with more in its environment. No test depends on what is in that of its caller.
    pub(crate) fn start_with(
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
        log: &Path,
    ) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.envs(environment.iter().copied()).env_remove("KUBECONFIG").env_remove("POD_NAMESPACE");
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a second handle")).stderr(output);
        let (tell, started) = mpsc::channel();
        let guard = thread::spawn(move || {
            let mut child = command.spawn().expect("setpriv, of util-linux, starts");
            tell.send(child.id()).expect("somebody who waits for the start");
            child.wait().expect("wait")
        });
        let pid = started.recv().expect("a started program");
        let pid = Pid::from_raw(i32::try_from(pid).expect("a process ID"));
        Self { pid, guard: Some(guard), log: log.to_owned() }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_running() {
            kill(self.pid, signal).expect("a signal to a program of this test");
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn is_running(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| !guard.is_finished())
    }

    /// How it ended; waits for that.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.guard.take().expect("a program whose end is not known yet").join().expect("the wait for its end")
    }

    /// The last lines that it printed.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(guard) = self.guard.take() {
            let _ = guard.join();
        }
    }
}
