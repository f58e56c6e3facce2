//! The node agent on a [`Host`].

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::resolver::request;
use crate::{Host, Sandbox, binaries, eventually};

/// A real `knap-installer agent` that looks after a host. Ended with this value.
#[derive(Debug)]
pub struct Agent {
    machine: Arc<Sandbox>,
    health: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Host {
    /// Starts an agent that shows the resolver's own token and looks every second.
    pub fn agent(&self) -> Agent {
        self.agent_with(&[], &[])
    }

    /// The same, run by another program (which gets the agent's command as its last arguments), and with these arguments,
    /// `--flag=value`, instead of the usual ones of the same names.
    pub fn agent_with(&self, wrapper: &[&str], arguments: &[String]) -> Agent {
        let program = binaries::program("knap-installer");
        let mut command = match wrapper {
            [] => self.machine().command(program),
            [first, rest @ ..] => {
                let mut command = self.machine().command(first);
                command.args(rest).arg(program);
                command
            }
        };
        let health = free_address();
        command.args(["agent", "--node=n1", "--log-level=debug", &format!("--health-address={health}")]);
        let is_given = |flag: &str| {
            // Each of these two stands for the other.
            let same = if flag == "--token-file" { "--service-account-token" } else { flag };
            arguments
                .iter()
                .filter_map(|given| given.split('=').next())
                .any(|given| [flag, same].contains(&given))
        };
        for (flag, path) in [
            ("--endpoint", self.resolver.endpoint().into()),
            ("--interval", "1".into()),
            ("--reap-interval", "1".into()),
            ("--token-file", self.resolver.token_file()),
            ("--plugin", binaries::knap()),
            ("--bin-dir", self.delegates.bin()),
            ("--config-dir", self.folder().to_owned()),
            ("--state-dir", self.ledger.folder().to_owned()),
            ("--netns-dir", self.folder().join("netns")),
            ("--boot-id-file", self.boot_id_file()),
        ] {
            if !is_given(flag) {
                command.arg(flag).arg::<PathBuf>(path);
            }
        }
        command.args(arguments).env_clear().env("PATH", std::env::var("PATH").unwrap_or_default());
        let log = self.folder().join("agent.log");
        let output =
            File::options().create(true).append(true).open(&log).expect("a file for the agent's log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().expect("the agent starts");
        Agent { machine: self.shared_machine(), health, child, log }
    }

    /// `knap-installer install` of a plugin, to its end.
    ///
    /// # Panics
    /// If it fails.
    pub fn install(&self, plugin: &Path) {
        let mut command = Command::new(binaries::program("knap-installer"));
        command.args(["install", "--node=n1", "--endpoint", &self.resolver.endpoint()]);
        command.arg("--token-file").arg(self.resolver.token_file()).arg("--plugin").arg(plugin);
        command.arg("--bin-dir").arg(self.delegates.bin()).arg("--state-dir").arg(self.ledger.folder());
        command.arg("--config-dir").arg(self.folder().join("installed"));
        let output = command.output().expect("knap-installer runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Of a loopback that is this process' own, and a port that the kernel gives to nobody.
fn free_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(20_000);
    // At most 22 bits.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 64 | high, middle, low);
    (address, PORT.fetch_add(1, Ordering::Relaxed)).into()
}

impl Agent {
    /// `GET /readyz`: status and text.
    pub fn readyz(&self) -> Option<(u16, String)> {
        let url = format!("http://{}/readyz", self.health);
        self.machine.enter(|| request("GET", &url, None, None)).ok()
    }

    /// Waits until it is ready; what it has to say then.
    pub fn wait_ready(&self) -> String {
        self.wait_says(200, "")
    }

    /// Waits until `/readyz` has this status and says this.
    pub fn wait_says(&self, status: u16, words: &str) -> String {
        let what = format!("the agent says {status} {words}");
        self.wait_for(&what, |found, text| found == status && text.contains(words))
    }

    /// Waits until it is ready, and has nothing to say.
    pub fn wait_well(&self) {
        self.wait_for("the agent has nothing to say", |status, text| (status, text) == (200, "ok\n"));
    }

    fn wait_for(&self, what: &str, is_it: impl Fn(u16, &str) -> bool) -> String {
        eventually(what, || {
            // One that has ended and that nobody has waited for is still listed, but runs no program.
            let runs = std::fs::read_link(format!("/proc/{}/exe", self.pid())).is_ok();
            assert!(runs, "the agent has ended");
            self.readyz().filter(|(status, text)| is_it(*status, text)).map(|(_, text)| text)
        })
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as Kubernetes does.
    ///
    /// # Panics
    /// Unless it ends in order and within twenty seconds.
    pub fn stop(&mut self) {
        let begun = Instant::now();
        kill(self.pid(), Signal::SIGTERM).expect("a signal to the agent");
        let status = self.child.wait().expect("wait");
        assert!(status.success(), "the agent ended with {status}: {}", self.log());
        assert!(begun.elapsed() < Duration::from_secs(20), "SIGTERM took {:?}", begun.elapsed());
    }

    /// What it has used of the processors so far, with the programs that it ran.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the agent's times");
        // After the name in parentheses: utime, stime, cutime, cstime are fields 14 to 17, in hundredths of a second.
        let fields = stat.rsplit_once(") ").expect("a name").1.split(' ').skip(11).take(4);
        Duration::from_millis(fields.map(|field| field.parse::<u64>().expect("a time") * 10).sum())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process ID"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the agent's log\n{}\n--- /readyz: {:?}", self.log(), self.readyz());
        }
    }
}
