//! A node's folders, and agents that look after it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::resolver::{Resolver, SERVICE_ACCOUNT_TOKEN};

/// Longer than anything takes on a busy machine.
const GENEROUS: Duration = Duration::from_secs(60);

/// Asks again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < GENEROUS, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) struct Node {
    folder: tempfile::TempDir,
    pub(crate) resolver: Resolver,
}

impl Node {
    pub(crate) fn new() -> Self {
        let node = Self { folder: tempfile::tempdir().unwrap(), resolver: Resolver::start() };
        for folder in ["bin", "sys/class/net", "netns"] {
            fs::create_dir_all(node.path(folder)).unwrap();
        }
        fs::write(node.path("pod-token"), SERVICE_ACCOUNT_TOKEN).unwrap();
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    /// An executable script.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        let draft = self.path("draft");
        fs::write(&draft, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&draft, &path).unwrap();
        path
    }

    /// A plugin whose text differs by `version`. It writes down when it reaps, hangs then where a file `hang` is, fails STATUS
    /// where a file `no-status` is, and does not say its version where a file `mute` is.
    pub(crate) fn plugin(&self, version: &str) -> PathBuf {
        let root = self.folder.path().display();
        self.script(
            &format!("knap-{version}"),
            &format!(
                r#"if [ "$1" = reap ]; then
  echo "$KNAP_CONFIG" >>{root}/reaped
  while [ -e {root}/hang ]; do sleep 0.1; done
  if [ -e {root}/failing ]; then echo '{{"tombstones":1,"failures":["c1/net1: stuck"]}}'; exit 1; fi
  echo '{{"failures":[]}}'
  exit
fi
case $CNI_COMMAND in
  STATUS) if [ -e {root}/no-status ]; then echo '{{"code":50,"msg":"the resolver is away"}}'; exit 1; fi ;;
  VERSION) echo '{{"supportedVersions": ["1.0.0"]}}' ;;
  *) [ -e {root}/mute ] || echo 'knap {version}: a CNI plugin' >&2 ;;
esac"#
            ),
        )
    }

    pub(crate) fn reaped(&self) -> usize {
        self.read("reaped").lines().count()
    }

    pub(crate) fn installed(&self, version: &str) -> bool {
        self.read("bin/knap").contains(&format!("knap {version}:"))
    }

    /// Starts an agent that installs this plugin.
    pub(crate) fn agent(&self, plugin: &Path) -> Agent {
        self.agent_with(plugin, &[])
    }

    pub(crate) fn agent_with(&self, plugin: &Path, more: &[&str]) -> Agent {
        Agent::start(self, plugin, more, &[])
    }

    /// One that is killed at a fault point.
    #[cfg(feature = "fault-points")]
    pub(crate) fn agent_dying_at(&self, plugin: &Path, point: &str) -> Agent {
        Agent::start(self, plugin, &[], &[("KNAP_FAULT_POINT", point)])
    }
}

/// Of a loopback that is this process' own, and a port that the kernel gives to nobody.
fn free_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(20_000);
    // At most 22 bits.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 64 | high, middle, low), PORT.fetch_add(1, Ordering::Relaxed)).into()
}

/// One agent; killed with this value.
pub(crate) struct Agent {
    child: Child,
    health: SocketAddr,
    log: PathBuf,
}

impl Agent {
    fn start(node: &Node, plugin: &Path, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let health = free_address();
        let log = node.path(&format!("log-{}", health.port()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_knap-installer"));
        command.args(["agent", "--node=n1", "--interval=1"]).args(more);
        if !more.iter().any(|argument| argument.starts_with("--reap-interval")) {
            command.arg("--reap-interval=1");
        }
        command.arg("--endpoint").arg(node.resolver.endpoint()).arg("--plugin").arg(plugin);
        for (flag, name) in [
            ("--bin-dir", "bin"),
            ("--config-dir", "conf"),
            ("--state-dir", "state"),
            ("--service-account-token", "pod-token"),
            ("--sysfs", "sys"),
            ("--netns-dir", "netns"),
        ] {
            command.arg(flag).arg(node.path(name));
        }
        command
            .arg(format!("--health-address={health}"))
            .envs(environment.iter().copied())
            .env("POD_NAME", format!("knap-node-{}", health.port()));
        let child = command.stderr(fs::File::create(&log).unwrap()).stdin(Stdio::null()).spawn().unwrap();
        Self { child, health, log }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn pod(&self) -> String {
        format!("knap-node-{}", self.health.port())
    }

    /// A connection on which nothing is asked yet.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.health).unwrap()
    }

    /// Status and text; none where nobody answers.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.health).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, text) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, text.to_owned()))
    }

    /// How it ended, if it has.
    #[cfg(feature = "fault-points")]
    pub(crate) fn has_died(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) fn wait_ready(&self) {
        eventually("the agent is ready", || match self.get("/readyz") {
            Some((200, _)) => Some(()),
            other => {
                self.seen(&other);
                None
            }
        });
    }

    /// Waits until it is not ready, and says this.
    pub(crate) fn wait_unready(&self, words: &str) -> String {
        self.wait_says(503, words)
    }

    /// Waits until it says this, though it is ready.
    pub(crate) fn wait_notes(&self, words: &str) -> String {
        self.wait_says(200, words)
    }

    fn wait_says(&self, status: u16, words: &str) -> String {
        eventually(words, || match self.get("/readyz") {
            Some((found, text)) if found == status && text.contains(words) => Some(text),
            other => {
                self.seen(&other);
                None
            }
        })
    }

    /// For who reads the output of a test that failed.
    fn seen(&self, answer: &Option<(u16, String)>) {
        fs::write(self.log.with_extension("seen"), format!("{answer:?}")).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as Kubernetes does, which must not take long.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let begun = Instant::now();
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "SIGTERM took {:?}", begun.elapsed());
        status
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let seen = fs::read_to_string(self.log.with_extension("seen")).unwrap_or_default();
            eprintln!("--- last seen on /readyz: {seen}\n--- the agent's log\n{}", self.log());
        }
    }
}
