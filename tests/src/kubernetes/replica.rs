//! Real `knap-resolver`s on a Kubernetes API, each a process of its own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use knap_protocol::{AttachReply, StatusView};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::{Handle, Id};
use ureq::tls::TlsConfig;

use super::daemon::Daemon;
use super::{ADMIN, KubernetesApi, Objects, RESOLVER, ports, trust};
use crate::resolver::request_over;
use crate::waiting::freeze;
use crate::{GENEROUS, binaries};

/// One `knap-resolver serve --store kubernetes`. It ends with this value.
#[derive(Debug)]
pub struct Replica {
    host: Ipv4Addr,
    port: u16,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Of [`ADMIN`]: what the test itself does.
    kubeconfig: PathBuf,
    log: PathBuf,
    daemon: Option<Daemon>,
    /// A client does not outlive the runtime that it was made in.
    objects: Mutex<Option<(Id, Objects)>>,
}

/// What a replica answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// As text.
    pub body: String,
}

impl Reply {
    /// The body, which must be JSON of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl KubernetesApi {
    /// A replica that is not started yet, for this API and with these further arguments.
    pub fn replica(&self, arguments: &[&str]) -> Replica {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = self.folder.path().join("resolvers");
        fs::create_dir_all(&folder).expect("a folder for resolvers");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let port = ports::free();
        let mut all: Vec<String> = ["serve", "--store", "kubernetes"].map(str::to_owned).into();
        let host = self.server.host();
        all.push(format!("--listen={host}:{port}"));
        let kubeconfig = self.kubeconfig(ADMIN);
        // Unless the test says otherwise.
        for usual in [
            "--log=debug,hyper=info,tower=info".to_owned(),
            format!("--kubeconfig={}", self.kubeconfig(RESOLVER).display()),
            "--drain=0".to_owned(),
        ] {
            let name = usual.split('=').next().unwrap_or_default();
            if !arguments.iter().any(|given| given.split('=').next() == Some(name)) {
                all.push(usual);
            }
        }
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let log = folder.join(format!("{number}.log"));
        Replica {
            host,
            port,
            arguments: all,
            environment: Vec::new(),
            kubeconfig,
            log,
            daemon: None,
            objects: Mutex::new(None),
        }
    }

    /// A replica that is ready.
    pub async fn start_replica(&self) -> Replica {
        let mut replica = self.replica(&[]);
        replica.start();
        replica.wait_ready().await;
        replica
    }

    /// So many replicas that are ready.
    pub async fn start_replicas(&self, count: usize) -> Vec<Replica> {
        self.start_replicas_with(count, &[]).await
    }

    /// The same, with these further arguments.
    pub async fn start_replicas_with(&self, count: usize, arguments: &[&str]) -> Vec<Replica> {
        let mut replicas: Vec<Replica> = (0..count).map(|_| self.replica(arguments)).collect();
        replicas.iter_mut().for_each(Replica::start);
        for replica in &replicas {
            replica.wait_ready().await;
        }
        replicas
    }
}

impl Replica {
    /// With a variable in its environment, a fault point say, from its next start on.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Starts the process, and does not wait.
    pub fn start(&mut self) {
        assert!(self.daemon.is_none(), "this replica runs already");
        let environment: Vec<_> =
            self.environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let program = binaries::knap_resolver();
        self.daemon = Some(Daemon::start_with(&program, &self.arguments, &environment, &self.log));
    }

    /// `https://127.0.0.1:…`, or the address where nodes reach it; the same over restarts.
    pub fn endpoint(&self) -> String {
        format!("https://{}:{}", self.host, self.port)
    }

    /// Of a user of its API who may do everything.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Objects of its API.
    pub(super) async fn objects(&self) -> Objects {
        let here = Handle::current().id();
        let known = self.objects.lock().expect("no panic under the lock").clone();
        if let Some((_, objects)) = known.filter(|(runtime, _)| *runtime == here) {
            return objects;
        }
        let objects = Objects { client: trust::client(&self.kubeconfig).await };
        *self.objects.lock().expect("no panic under the lock") = Some((here, objects.clone()));
        objects
    }

    /// The answer to a request: of a node, with its token, where the path is a node's; of [`ADMIN`] otherwise. None where
    /// nobody answers.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Option<Reply> {
        let node = path.strip_prefix("/v1/nodes/").and_then(|rest| rest.split('/').next());
        let token = match node {
            None => ADMIN.to_owned(),
            Some(node) => match self.node_token(node).await {
                Ok(token) => token,
                Err(instead) => return instead,
            },
        };
        self.ask_as(Some(token), method, path, body).await
    }

    /// The same with any token, or none.
    pub async fn ask_as(
        &self,
        token: Option<String>,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Option<Reply> {
        let trusted = trust::authorities(&self.kubeconfig).await?;
        self.ask_over(trust::these(&trusted), token, method, path, body).await
    }

    /// A client that keeps its connections, and trusts the resolver as nodes do.
    pub async fn agent(&self) -> ureq::Agent {
        let trusted = trust::authorities(&self.kubeconfig).await.expect("the ConfigMap knap-ca");
        let config = ureq::Agent::config_builder().proxy(None).tls_config(trust::these(&trusted));
        config.timeout_global(Some(GENEROUS)).build().into()
    }

    async fn ask_over(
        &self,
        tls: TlsConfig,
        token: Option<String>,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Option<Reply> {
        let (method, url) = (method.to_owned(), format!("{}{path}", self.endpoint()));
        let body = body.map(|body| body.to_string());
        let answer = tokio::task::spawn_blocking(move || {
            let connection = ureq::config::Config::builder().tls_config(tls);
            request_over(connection, &method, &url, token.as_deref(), body.as_deref()).ok()
        });
        answer.await.expect("no panic in a request").map(|(status, body)| Reply { status, body })
    }

    /// How the plugin of a node reaches it: the node file's `resolver`, with a file of the certificates that are trusted now,
    /// and one with the node's token.
    pub async fn access(&self, node: &str) -> Value {
        let trusted = trust::authorities(&self.kubeconfig).await.expect("the ConfigMap knap-ca");
        let token = self.node_token(node).await.expect("a token of the node");
        let (ca, token_file) =
            (self.log.with_file_name("ca.crt"), self.log.with_file_name(format!("{node}.token")));
        fs::write(&ca, trusted).expect("a CA file");
        fs::write(&token_file, token).expect("a token file");
        json!({ "endpoints": [self.endpoint()], "caFile": ca, "tokenFile": token_file })
    }

    /// `GET /readyz`: its text as the error where it is not ready. As the kubelet's probes do, it trusts anyone.
    pub async fn readyz(&self) -> Result<(), String> {
        match self.ask_over(trust::anyone(), None, "GET", "/readyz", None).await {
            Some(Reply { status: 200, .. }) => Ok(()),
            Some(reply) => Err(reply.body),
            None => Err("no answer".to_owned()),
        }
    }

    /// Waits until it is ready.
    pub async fn wait_ready(&self) {
        let begin = Instant::now();
        while let Err(reason) = self.readyz().await {
            assert!(self.is_running(), "the resolver has ended: {}", self.log());
            assert!(begin.elapsed() < GENEROUS, "not ready: {reason}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `GET /v1/status`.
    pub async fn status(&self) -> Option<StatusView> {
        self.ask("GET", "/v1/status", None).await.map(|reply| reply.json())
    }

    /// PUT of an attachment of `container` on a node: what the request leaves out is filled in. The pod that it is for is
    /// made, in the Network's namespace or in the one that the request's `pod` names, unless that has a name too; null is none.
    pub async fn attach(&self, node: &str, container: &str, request: Value) -> Option<Reply> {
        let mut whole = json!({
            "network": "shop/blue", "bootID": "boot-1", "attempt": format!("try-{container}"), "deadlineSeconds": 9,
            "cniVersion": "1.0.0"
        });
        let fields = request.as_object().expect("an object").clone();
        whole.as_object_mut().expect("an object").extend(fields);
        match &whole["pod"] {
            Value::Null if request.get("pod").is_some() => {
                drop(whole.as_object_mut().map(|whole| whole.remove("pod")));
            }
            pod if pod["name"].is_null() => {
                let network = whole["network"].as_str().unwrap_or_default();
                let namespace = pod["namespace"].as_str().or_else(|| network.split('/').next());
                whole["pod"] = self.pod_for(node, container, namespace.unwrap_or_default()).await;
            }
            _ => {}
        }
        self.ask("PUT", &format!("/v1/nodes/{node}/attachments/{container}/net1"), Some(whole)).await
    }

    /// The same, which must succeed.
    pub async fn attached(&self, node: &str, container: &str, request: Value) -> AttachReply {
        let reply = self.attach(node, container, request).await.expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}\n{}", self.log());
        reply.json()
    }

    /// DELETE of what [`Replica::attached`] made.
    pub async fn release(&self, node: &str, container: &str, leases: &[String]) -> Option<Reply> {
        let leases = leases.join(",");
        let path =
            format!("/v1/nodes/{node}/attachments/{container}/net1?attempt=try-{container}&lease={leases}");
        self.ask("DELETE", &path, None).await
    }

    /// Its resident set.
    pub fn resident_megabytes(&self) -> f64 {
        let pid = self.daemon.as_ref().expect("a running resolver").pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number of kB");
        kibibytes * 1.024e-3
    }

    /// Whether its process is there.
    pub fn is_running(&self) -> bool {
        self.daemon.as_ref().is_some_and(Daemon::is_running)
    }

    /// Asks it to end as Kubernetes does, and does not wait.
    pub fn terminate(&self) {
        self.daemon.as_ref().expect("a running resolver").signal(Signal::SIGTERM);
    }

    /// Waits until it has ended.
    pub async fn wait_end(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("a resolver that was started");
        let begin = Instant::now();
        while daemon.is_running() {
            assert!(begin.elapsed() < GENEROUS, "the resolver does not end: {}", daemon.last_words());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        daemon.ended()
    }

    /// Ends it in order.
    pub async fn stop(&mut self) {
        self.terminate();
        let status = self.wait_end().await;
        assert!(status.success(), "the resolver ended with {status}: {}", self.log());
    }

    /// Ends it as the kernel's killer does.
    pub async fn kill(&mut self) {
        self.daemon.as_ref().expect("a running resolver").signal(Signal::SIGKILL);
        self.wait_end().await;
    }

    /// Freezes it: connections are accepted by the kernel, and nobody answers.
    pub fn freeze(&self) {
        freeze(self.daemon.as_ref().expect("a running resolver").pid());
    }

    /// Ends [`Replica::freeze`].
    pub fn thaw(&self) {
        self.daemon.as_ref().expect("a running resolver").signal(Signal::SIGCONT);
    }

    /// Waits until it has logged this: a line comes a moment after what it tells of.
    pub async fn wait_logged(&self, what: &str) {
        let begin = Instant::now();
        while !self.log().contains(what) {
            assert!(begin.elapsed() < GENEROUS, "waited in vain for a line with {what:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() && self.daemon.is_some() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- the resolver's log, its end\n{}",
                lines[lines.len().saturating_sub(60)..].join("\n")
            );
        }
    }
}
