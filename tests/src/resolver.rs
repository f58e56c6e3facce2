//! A real `knap-resolver` on a folder of its own.

use std::fs;
use std::io::{PipeReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use knap_protocol::{AttachmentView, NetworkView, StatusView};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use crate::waiting::freeze;
use crate::{Sandbox, binaries, eventually};

/// Where it listens; always free, since every [`crate::Host`] has a loopback of its own.
pub const PORT: u16 = 4180;

/// The resolver of one host: its folder outlives its processes.
#[derive(Debug)]
pub struct Resolver {
    machine: Arc<Sandbox>,
    folder: PathBuf,
    process: Mutex<Option<Child>>,
}

impl Resolver {
    /// Prepares `folder`; nothing runs until [`Resolver::start`].
    pub fn new(machine: Arc<Sandbox>, folder: &Path) -> Self {
        fs::create_dir_all(folder.join("manifests")).expect("a folder for manifests");
        Self { machine, folder: folder.to_owned(), process: Mutex::new(None) }
    }

    /// `http://127.0.0.1:4180`, on the host's loopback.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{PORT}")
    }

    /// The file with the bearer token; the resolver makes it.
    pub fn token_file(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// The bearer token.
    pub fn token(&self) -> String {
        fs::read_to_string(self.token_file()).expect("the resolver's token").trim().to_owned()
    }

    /// The folder of manifests.
    pub fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    /// Writes one manifest file; it is renamed into place, so that it is never seen half.
    pub fn write_manifest(&self, file: &str, yaml: &str) {
        let draft = self.folder.join("draft.yaml");
        fs::write(&draft, yaml).expect("a manifest");
        fs::rename(&draft, self.manifests().join(file)).expect("a manifest in its folder");
    }

    /// Removes one manifest file.
    pub fn remove_manifest(&self, file: &str) {
        fs::remove_file(self.manifests().join(file)).expect("the manifest to remove");
    }

    /// Starts it, and waits until it serves.
    pub fn start(&self) {
        self.start_with(&[]);
    }

    /// Starts it with more environment variables (a fault point, say), and waits until it serves.
    pub fn start_with(&self, environment: &[(&str, &str)]) {
        self.spawn(environment);
        self.wait_serving();
    }

    /// Starts it with a pipe for its log that nobody reads, and that is full. Its other end is given.
    pub fn start_unread(&self) -> PipeReader {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let room = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).expect("a pipe's size");
        writer.write_all(&vec![b'.'; usize::try_from(room).expect("a size")]).expect("a pipe with room");
        self.spawn_logging(writer.into(), &[]);
        self.wait_serving();
        reader
    }

    fn wait_serving(&self) {
        let status = eventually("the resolver serves", || {
            if let Some(ended) = self.process().as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                panic!("the resolver ended with {ended}: {}", self.log());
            }
            self.status().filter(|status| status.ready)
        });
        assert_eq!(status.store, "embedded");
    }

    /// Starts it without waiting.
    pub fn spawn(&self, environment: &[(&str, &str)]) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log"));
        self.spawn_logging(log.expect("a file for the resolver's log").into(), environment);
    }

    fn spawn_logging(&self, log: Stdio, environment: &[(&str, &str)]) {
        let mut process = self.process();
        assert!(process.is_none(), "the resolver runs already");
        let mut command = self.machine.command(binaries::knap_resolver());
        command.args(["serve", "--store", "embedded", "--listen", &format!("127.0.0.1:{PORT}")]);
        command.arg("--manifests").arg(self.manifests());
        command.arg("--state").arg(self.folder.join("state.redb"));
        command.arg("--token-file").arg(self.token_file());
        command.envs(environment.iter().copied()).env_remove("KUBECONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        *process = Some(command.spawn().expect("the resolver starts"));
    }

    /// Ends it as systemd does.
    ///
    /// # Panics
    /// Unless it ends in order, and soon.
    pub fn stop(&self) {
        let begin = Instant::now();
        self.signal(Signal::SIGTERM);
        let status = self.wait_end("the resolver ends after SIGTERM");
        assert!(status.success(), "the resolver ended with {status} on SIGTERM: {}", self.log());
        assert!(begin.elapsed() < Duration::from_secs(20), "SIGTERM took {:?}", begin.elapsed());
    }

    /// Ends it as a power cut does.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
        self.wait_end("the resolver ends after SIGKILL");
    }

    /// Waits until a fault point has ended it.
    pub fn wait_killed(&self) {
        let status = self.wait_end("the resolver dies at its fault point");
        // SIGKILL or SIGABRT: nothing was flushed or unwound.
        assert!(status.signal().is_some(), "the resolver ended with {status}: {}", self.log());
    }

    fn wait_end(&self, what: &str) -> ExitStatus {
        // It stays ours until it has ended, so that a test that gives up here still ends it.
        let status = eventually(what, || {
            self.process().as_mut().expect("a running resolver").try_wait().expect("wait")
        });
        *self.process() = None;
        status
    }

    /// Whether its process is there.
    pub fn is_running(&self) -> bool {
        self.process().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Freezes it: connections are accepted by the kernel, and nobody answers.
    pub fn freeze(&self) {
        freeze(pid(self.process().as_ref().expect("a running resolver")));
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().expect("a running resolver").id()
    }

    fn signal(&self, signal: Signal) {
        kill(pid(self.process().as_ref().expect("a running resolver")), signal)
            .expect("a signal to the resolver");
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has logged this: a line comes a moment after what it tells of.
    pub fn wait_logged(&self, what: &str) {
        eventually(&format!("a line with {what:?}"), || self.log().contains(what).then_some(()));
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }

    /// `GET /v1/status`, where it answers.
    pub fn status(&self) -> Option<StatusView> {
        let (status, body) = self.request("GET", "/v1/status", None, None).ok()?;
        (status == 200).then(|| decode(&body))
    }

    /// `GET /v1/networks/{namespace}/{name}`.
    pub fn network(&self, network: &str) -> Option<NetworkView> {
        let (status, body) = self.get(&format!("/v1/networks/{network}"));
        (status == 200).then(|| decode(&body))
    }

    /// `GET /v1/attachments?network=…`: the leases of one Network; none of one that is gone.
    pub fn attachments(&self, network: &str) -> Vec<AttachmentView> {
        let (status, body) = self.get(&format!("/v1/attachments?network={network}"));
        if status == 404 {
            let all = self.status().map(|status| status.leases);
            assert_eq!(all, Some(0), "{network} is gone, but leases are left");
            return Vec::new();
        }
        assert_eq!(status, 200, "attachments of {network}: {body}");
        decode(&body)
    }

    /// Names of all leases of one Network, sorted.
    pub fn leases(&self, network: &str) -> Vec<String> {
        let mut leases: Vec<String> = self.attachments(network).into_iter().map(|view| view.lease).collect();
        leases.sort();
        leases
    }

    /// Waits until a Network serves.
    pub fn wait_ready(&self, network: &str) -> NetworkView {
        let mut last = None;
        eventually(&format!("{network} is ready"), || {
            last = self.network(network);
            last.clone().filter(|view| view.ready)
        })
    }

    /// Waits until there are no leases of a Network: a release may come a moment after its caller.
    pub fn wait_no_leases(&self, network: &str) {
        eventually(&format!("no lease of {network} is left"), || {
            self.attachments(network).is_empty().then_some(())
        });
    }

    /// `GET` with the token: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, Some(&self.token()), None)
            .unwrap_or_else(|error| panic!("GET {path}: {error}: {}", self.log()))
    }

    /// Any request, sent on the host's loopback: status and body.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&str>,
    ) -> Result<(u16, String), String> {
        self.machine.enter(|| request(method, &format!("{}{path}", self.endpoint()), token, body))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        if let Some(mut child) = self.process().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the resolver's log\n{}", self.log());
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process ID"))
}

fn decode<T: DeserializeOwned>(body: &str) -> T {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("the resolver answered {body}: {error}"))
}

/// Any request: status and body.
pub(crate) fn request(
    method: &str,
    url: &str,
    token: Option<&str>,
    body: Option<&str>,
) -> Result<(u16, String), String> {
    request_over(ureq::config::Config::builder(), method, url, token, body)
}

/// The same with some settings of the connection made.
pub(crate) fn request_over(
    connection: ureq::config::ConfigBuilder<ureq::typestate::AgentScope>,
    method: &str,
    url: &str,
    token: Option<&str>,
    body: Option<&str>,
) -> Result<(u16, String), String> {
    let agent: ureq::Agent = connection
        .proxy(None)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = match body {
        Some(body) => {
            let request = request.header("content-type", "application/json").body(body.to_owned());
            agent.run(request.expect("a request"))
        }
        None => agent.run(request.body(()).expect("a request")),
    };
    let mut response = answer.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    Ok((status, response.body_mut().read_to_string().map_err(|error| error.to_string())?))
}
