//! Running a program with a deadline: input in, output out, and nothing of it left behind.
//!
//! A program is started first and told what to do later, since loading one takes as long as syncing a file does. By
//! the specification a plugin learns what to do from its standard input, and fails with code 6 if that ends without a
//! configuration: until it has been told, it has done nothing.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::conversation::{End, LARGEST_OUTPUT, converse};
use crate::environment::Environment;

/// A program to run.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Where it is.
    pub program: &'a Path,
    /// All of its environment.
    pub environment: &'a Environment,
    /// How long it is tried to start it.
    pub deadline: Instant,
}

/// What a program left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Whether its exit status was zero.
    pub success: bool,
    /// How it ended, for messages: `exit status: 1`.
    pub status: String,
    /// Its standard output.
    pub stdout: Vec<u8>,
}

/// A program that could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Somebody is writing the file.
    #[error("can't run {program}: its file has been open for writing for {} s; wait for its installation to end", BUSY_PATIENCE.as_secs())]
    Busy {
        /// Which.
        program: String,
    },
    /// The kernel refuses.
    #[error("can't run {program}: {source}; check that it is an executable file for this machine")]
    Spawn {
        /// Which.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// It did not end in time.
    #[error("{program} hung and was killed after {:.1} s", .after.as_secs_f32())]
    Killed {
        /// Which.
        program: String,
        /// How long it was given.
        after: Duration,
    },
    /// It wrote more than any result.
    #[error("{program} wrote more than {} KiB and was killed", LARGEST_OUTPUT >> 10)]
    Flood {
        /// Which.
        program: String,
    },
    /// Its pipes or its end could not be followed; it was killed.
    #[error("lost {program}, and killed it: {source}")]
    Lost {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// Runs programs. The one real kind is [`Processes`].
pub trait Exec {
    /// Starts one, which then waits for its input.
    fn start(&self, invocation: &Invocation<'_>) -> Result<Box<dyn Running>, ExecError>;
}

/// A program that has been started. Dropped before it was told what to do, it is killed.
pub trait Running {
    /// Gives it its standard input, and follows it to its end; at `deadline` it is killed, with its children.
    fn finish(self: Box<Self>, stdin: &[u8], deadline: Instant) -> Result<Output, ExecError>;
}

/// How long a program whose file is being written is tried again: an upgrade in place takes that long at most.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// Real processes, each in a process group of its own, so that its children can be killed with it. Standard error is
/// ours. Where we are killed they work on, holding the attachment's lock (see [`Ledger::lock`](crate::ledger::Ledger::lock)).
#[derive(Debug, Clone, Copy)]
pub struct Processes;

impl Exec for Processes {
    fn start(&self, invocation: &Invocation<'_>) -> Result<Box<dyn Running>, ExecError> {
        let program = invocation.program.display().to_string();
        let child = spawn(invocation, &program)?;
        Ok(Box::new(Process { program, child, ended: false }))
    }
}

struct Process {
    program: String,
    child: Child,
    ended: bool,
}

impl Running for Process {
    fn finish(mut self: Box<Self>, stdin: &[u8], deadline: Instant) -> Result<Output, ExecError> {
        let begun = Instant::now();
        let program = self.program.clone();
        match converse(&mut self.child, stdin, deadline) {
            Ok(End::Exited { success, status, stdout }) => {
                self.ended = true;
                Ok(Output { success, status, stdout })
            }
            Ok(End::TimeOver) => Err(ExecError::Killed { program, after: begun.elapsed() }),
            Ok(End::Flooded) => Err(ExecError::Flood { program }),
            Err(source) => Err(ExecError::Lost { program, source }),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            kill(&mut self.child);
        }
    }
}

fn spawn(invocation: &Invocation<'_>, program: &str) -> Result<Child, ExecError> {
    let begun = Instant::now();
    loop {
        let spawned = Command::new(invocation.program)
            .env_clear()
            .envs(invocation.environment.variables())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn();
        let source = match spawned {
            Ok(child) => return Ok(child),
            Err(source) => source,
        };
        let program = program.to_owned();
        if source.kind() != io::ErrorKind::ExecutableFileBusy {
            return Err(ExecError::Spawn { program, source });
        }
        if begun.elapsed() >= BUSY_PATIENCE || Instant::now() >= invocation.deadline {
            return Err(ExecError::Busy { program });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Kills the program and its children, and waits a moment for it to be gone: what it was doing in the kernel must not
/// go on under the undoing.
fn kill(child: &mut Child) {
    let Ok(group) = i32::try_from(child.id()) else { return };
    // It may have ended by itself; its children may not.
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    let patience = Instant::now() + Duration::from_secs(1);
    while Instant::now() < patience && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("program");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn run(text: &str, stdin: &[u8], patience: Duration) -> Result<Output, ExecError> {
        let folder = tempfile::tempdir().unwrap();
        let environment = [("PATH", "/usr/bin:/bin"), ("GREETING", "hello")].into_iter().collect();
        let deadline = Instant::now() + patience;
        let program = script(folder.path(), text);
        let invocation = Invocation { program: &program, environment: &environment, deadline };
        Processes.start(&invocation)?.finish(stdin, deadline)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn input_environment_output_and_status_pass() {
        let output = run("cat; printf %s \"$GREETING\"; exit 3", b"input ", LONG).unwrap();
        assert_eq!(output.stdout, b"input hello");
        assert!(!output.success && output.status.contains('3'), "{}", output.status);
    }

    #[test]
    fn more_than_a_pipe_holds_passes_both_ways() {
        let input = vec![b'x'; 300_000];
        assert_eq!(run("cat", &input, LONG).unwrap().stdout, input);
        // One that reads nothing does not stop us either.
        assert!(run("exit 0", &input, LONG).unwrap().success);
    }

    #[test]
    fn a_hanging_program_dies_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let begun = Instant::now();
        let text = format!("sleep 300 & echo $! > {}; wait", pid.display());
        let error = run(&text, b"", Duration::from_secs(3)).unwrap_err();
        assert!(matches!(error, ExecError::Killed { .. }), "{error}");
        assert!(begun.elapsed() < LONG);
        wait_ended(&pid);
    }

    /// Waits until the process whose number is in a file is gone, or a zombie that waits for whoever reaps orphans here.
    fn wait_ended(pid: &Path) {
        let process = fs::read_to_string(pid).unwrap();
        let state = || fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
        let deadline = Instant::now() + LONG;
        while !state().is_empty() && !state().contains(" Z ") {
            assert!(Instant::now() < deadline, "{}", state());
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_child_that_holds_the_output_is_not_waited_for() {
        let begun = Instant::now();
        let output = run("sleep 300 & echo done; echo $! >&1", b"", LONG).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("done") && begun.elapsed() < Duration::from_secs(10));
        let child: i32 = text.lines().nth(1).unwrap().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_flood_is_stopped() {
        let error = run("yes", b"", LONG).unwrap_err();
        assert!(matches!(error, ExecError::Flood { .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_being_written_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), "echo ready");
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        let release = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            drop(writer);
        });
        let environment = [("PATH", "/usr/bin:/bin")].into_iter().collect();
        let deadline = Instant::now() + LONG;
        let invocation = Invocation { program: &path, environment: &environment, deadline };
        let output = Processes.start(&invocation).unwrap().finish(b"", deadline).unwrap();
        assert_eq!(output.stdout, b"ready\n");
        release.join().unwrap();
    }

    #[test]
    fn what_is_no_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        fs::write(&path, "data").unwrap();
        let environment = Environment::default();
        let invocation =
            Invocation { program: &path, environment: &environment, deadline: Instant::now() + LONG };
        let error = Processes.start(&invocation).err().unwrap();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn one_that_is_never_told_what_to_do_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (pid, told) = (folder.path().join("pid"), folder.path().join("told"));
        let text = format!("echo $$ > {}; read -r line; touch {}", pid.display(), told.display());
        let environment = [("PATH", "/usr/bin:/bin")].into_iter().collect();
        let program = script(folder.path(), &text);
        let deadline = Instant::now() + LONG;
        let running =
            Processes.start(&Invocation { program: &program, environment: &environment, deadline }).unwrap();
        while fs::read_to_string(&pid).unwrap_or_default().trim().is_empty() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(5));
        }
        let begun = Instant::now();
        drop(running);
        // It is waited for, for a moment.
        let process = fs::read_to_string(&pid).unwrap();
        let is_there = fs::exists(format!("/proc/{}", process.trim())).unwrap();
        assert!(!is_there || begun.elapsed() >= Duration::from_secs(1));
        wait_ended(&pid);
        assert!(!told.exists());
    }
}
