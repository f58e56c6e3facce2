//! Running programs of the host: input in, output out, killed when they take too long.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::host_root::HostRoot;
use crate::in_root;

/// For callers that nobody tells to stop.
pub(crate) static NEVER: AtomicBool = AtomicBool::new(false);

/// No answer comes near this; more is not read.
const LARGEST_OUTPUT: u64 = 1 << 20;
/// How long the output of a program that has ended is waited for: a child of its may hold it open. On a busy machine, even
/// what is there takes a while to be read.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Between looks at a program that runs: at first, and later.
const SHORTEST_STEP: Duration = Duration::from_millis(1);
const LONGEST_STEP: Duration = Duration::from_millis(50);

/// A program to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    /// The host that it is of.
    pub(crate) root: &'a HostRoot,
    /// Its path on the host.
    pub(crate) path: &'a Path,
    /// Its arguments.
    pub(crate) arguments: &'a [&'a str],
    /// All of its environment.
    pub(crate) environment: &'a [(&'a str, &'a OsStr)],
    /// Its standard input; less than a pipe holds.
    pub(crate) stdin: &'a str,
    /// How long it may take.
    pub(crate) patience: Duration,
}

/// What a program left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whether its exit status was zero.
    pub(crate) success: bool,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// A program that was not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// The kernel refuses.
    #[error("it can't be run: {0}")]
    Spawn(io::Error),
    /// Somebody else, such as a kernel without memory, has killed it.
    #[error("it was killed by signal {0}")]
    Killed(i32),
    /// It did not end in time.
    #[error("it did not end within {} s and was killed", .0.as_secs())]
    Hung(Duration),
    /// We are to end.
    #[error("it was killed, since the agent ends")]
    Stopped,
    /// Its end could not be followed; it was killed.
    #[error("it was lost and killed: {0}")]
    Lost(io::Error),
}

impl Program<'_> {
    /// Runs it to its end, or kills it and its children when its time is over or `stop` is set.
    pub(crate) fn run(&self, stop: &AtomicBool) -> Result<Said, ProgramError> {
        let deadline = Instant::now() + self.patience;
        let mut child = self.start(deadline).map_err(ProgramError::Spawn)?;
        let stdout = read_aside(child.stdout.take());
        let stderr = read_aside(child.stderr.take());
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read it ends without it.
            let _ = stdin.write_all(self.stdin.as_bytes());
        }
        match self.follow(&mut child, deadline, stop) {
            Ok(status) => {
                let until = Instant::now() + LAST_WORDS;
                let (stdout, stderr) = (last_words(&stdout, until), last_words(&stderr, until));
                let stderr = stderr.trim_end().to_owned();
                if let Some(signal) = status.signal() {
                    return Err(ProgramError::Killed(signal));
                }
                if !self.root.is_own() && status.code() == Some(in_root::NOT_RUN) {
                    return Err(ProgramError::Spawn(io::Error::other(stderr)));
                }
                Ok(Said { success: status.success(), stdout, stderr })
            }
            Err(error) => {
                kill(&mut child);
                Err(error)
            }
        }
    }

    fn follow(
        &self,
        child: &mut Child,
        deadline: Instant,
        stop: &AtomicBool,
    ) -> Result<ExitStatus, ProgramError> {
        let mut step = SHORTEST_STEP;
        loop {
            if let Some(status) = child.try_wait().map_err(ProgramError::Lost)? {
                return Ok(status);
            }
            if stop.load(Ordering::Relaxed) {
                return Err(ProgramError::Stopped);
            }
            if Instant::now() > deadline {
                return Err(ProgramError::Hung(self.patience));
            }
            thread::sleep(step);
            step = (step * 2).min(LONGEST_STEP);
        }
    }

    /// A file that was written a moment ago may still be open for writing, in a process that was forked meanwhile and
    /// has not come to its exec: then it is tried again.
    fn start(&self, deadline: Instant) -> io::Result<Child> {
        loop {
            match self.command()?.spawn() {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < deadline =>
                {
                    thread::sleep(SHORTEST_STEP);
                }
                started => return started,
            }
        }
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = if self.root.is_own() {
            Command::new(self.path)
        } else {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("in-root").arg(self.root.path()).arg(self.path);
            command
        };
        command
            .args(self.arguments)
            .env_clear()
            .envs(self.environment.iter().copied())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }
}

/// Reads a stream on a thread of its own, so that its writer never waits for us, nor we for who holds it open.
fn read_aside(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stream) = stream {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is what there is.
            let _ = stream.take(LARGEST_OUTPUT).read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    receiver
}

fn last_words(stream: &Receiver<Vec<u8>>, until: Instant) -> String {
    let left = until.saturating_duration_since(Instant::now());
    let bytes = stream.recv_timeout(left).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Kills a program with its children, and waits for its own end.
fn kill(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // It may have ended by itself; its children may not.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration, stop: &AtomicBool) -> Result<Said, ProgramError> {
        let root = HostRoot::new(Path::new("/"));
        let program = Program {
            root: &root,
            path: Path::new("/bin/sh"),
            arguments: &["-c", script],
            environment: &[("GREETING", OsStr::new("hello"))],
            stdin: "input",
            patience,
        };
        program.run(stop)
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn input_environment_output_and_status_pass() {
        let said = shell("read line; echo \"$line $GREETING\"; echo bad >&2; exit 3", LONG, &NEVER).unwrap();
        assert_eq!(
            (said.success, said.stdout.as_str(), said.stderr.as_str()),
            (false, "input hello\n", "bad")
        );
    }

    #[test]
    fn much_output_does_not_hang_it() {
        let said = shell(
            "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
            LONG,
            &NEVER,
        );
        assert_eq!(said.unwrap().stdout.len(), 3000 * 41);
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let begun = Instant::now();
        let hung = shell("(while :; do :; done) & wait", Duration::from_millis(200), &NEVER);
        assert!(matches!(hung, Err(ProgramError::Hung(_))), "{hung:?}");
        let stopped = shell("while :; do :; done", LONG, &AtomicBool::new(true));
        assert!(matches!(stopped, Err(ProgramError::Stopped)), "{stopped:?}");
        assert!(begun.elapsed() < LONG);
    }

    #[test]
    fn one_that_somebody_kills_has_not_answered() {
        let killed = shell("echo half; kill -9 $$", LONG, &NEVER);
        assert!(matches!(killed, Err(ProgramError::Killed(9))), "{killed:?}");
    }

    #[test]
    fn who_holds_the_output_open_is_not_waited_for() {
        let begun = Instant::now();
        let said = shell("sleep 20 & echo done", LONG, &NEVER).unwrap();
        assert!(said.success);
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
}
