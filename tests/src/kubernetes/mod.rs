//! A Kubernetes API of a test's own: a real etcd and kube-apiserver on loopback, in a folder that goes with them.

mod agent;
mod audit;
mod behind;
mod caller;
mod cluster;
mod control_plane;
mod counters;
mod crds;
pub(crate) mod daemon;
mod etcd;
mod finished;
mod kubectl;
mod objects;
mod pods;
mod ports;
mod proxy;
mod replica;
mod roles;
mod server;
pub mod trust;
mod webhooks;

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::sync::Mutex;

pub use self::agent::AGENT;
pub use self::behind::Behind;
pub use self::caller::{Attached, Caller};
pub use self::cluster::Cluster;
pub use self::counters::Counters;
pub use self::finished::Finished;
pub use self::objects::{Objects, condition};
pub use self::proxy::{Fate, Proxy};
pub use self::replica::{Replica, Reply};
pub use self::roles::RESOLVER;
pub use self::webhooks::{WEBHOOKS, Written};

use self::daemon::Daemon;
use self::etcd::Etcd;
use self::server::Server;
use crate::GENEROUS;
use crate::stale::fresh_folder;

/// A user who may do everything; also its token.
pub const ADMIN: &str = "admin";
/// A user who may do nothing; also its token.
pub const NOBODY: &str = "nobody";

static SHARED: Mutex<Weak<KubernetesApi>> = Mutex::const_new(Weak::new());

/// etcd and kube-apiserver. Dropping it kills both and removes what they wrote. Where the test's process is killed, they end
/// with it, and the next run removes the rest.
#[derive(Debug)]
pub struct KubernetesApi {
    /// Of kube-controller-manager, kube-scheduler.
    controllers: Vec<Daemon>,
    server: Server,
    etcd: Etcd,
    folder: TempDir,
}

impl KubernetesApi {
    /// Starts both, and waits until they serve.
    ///
    /// # Panics
    /// With what to do, where there are no such programs.
    pub async fn start() -> Self {
        Self::start_on(None).await
    }

    /// The same for nodes, which reach it at this address of the namespace that the calling thread is in.
    pub async fn start_at(address: Ipv4Addr) -> Self {
        Self::start_on(Some(address)).await
    }

    async fn start_on(address: Option<Ipv4Addr>) -> Self {
        let assets = assets();
        let folder = fresh_folder();
        let etcd = Etcd::start(&assets, folder.path());
        let server = Server::start(&assets, folder.path(), etcd.url(), address);
        let mut api = Self { controllers: Vec::new(), server, etcd, folder };
        api.wait_ready().await;
        api.wait_furnished().await;
        api.server.serves();
        if address.is_none() {
            // On nodes, it is the chart that gives them.
            api.give_roles().await;
        }
        api
    }

    /// The API that all tests share which run at this time, with Knap's kinds; for tests that break nothing.
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(api) = shared.upgrade() {
            return api;
        }
        let api = Self::start().await;
        api.install_crds().await;
        let api = Arc::new(api);
        *shared = Arc::downgrade(&api);
        api
    }

    /// A kubeconfig file of [`ADMIN`], [`NOBODY`] or [`RESOLVER`].
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.server.kubeconfig(user)
    }

    /// Where it is reached.
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// The certificates that it is trusted by, in PEM.
    pub fn authority(&self) -> String {
        std::fs::read_to_string(self.server.certificate()).expect("the API server's certificate")
    }

    /// What a client of one of these is made from.
    pub async fn config(&self, user: &str) -> Config {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(user)).expect("the kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        config.expect("a client's configuration")
    }

    /// A client of [`ADMIN`].
    pub async fn client(&self) -> Client {
        Client::try_from(self.config(ADMIN).await).expect("a client")
    }

    /// Creates the definitions of Knap's kinds, and waits until they are served.
    pub async fn install_crds(&self) {
        crds::install(&self.client().await).await;
    }

    /// Creates the definition of NetworkAttachmentDefinitions, and waits until they are served.
    pub async fn install_multus_crd(&self) {
        crds::install_multus(&self.client().await).await;
    }

    /// Ends kube-apiserver as the kernel's killer does.
    pub fn kill_server(&mut self) {
        self.server.kill();
    }

    /// Starts kube-apiserver again, and waits until it serves.
    pub async fn restart_server(&mut self) {
        self.server.restart();
        self.wait_ready().await;
        self.server.serves();
    }

    /// Lets kube-apiserver accept connections and answer nothing.
    pub fn pause_server(&self) {
        self.server.freeze();
    }

    /// Ends [`KubernetesApi::pause_server`].
    pub fn resume_server(&self) {
        self.server.signal(Signal::SIGCONT);
    }

    /// Ends etcd as the kernel's killer does.
    pub fn kill_etcd(&mut self) {
        self.etcd.kill();
    }

    /// Starts etcd again, and waits until kube-apiserver serves.
    pub async fn restart_etcd(&mut self) {
        self.etcd.restart();
        self.wait_ready().await;
    }

    /// A copy of all that etcd holds now. It is away for a moment.
    pub async fn backup(&mut self) -> TempDir {
        self.etcd.kill();
        let copy = fresh_folder();
        copy_folder(&self.etcd.data(), copy.path());
        self.restart_etcd().await;
        copy
    }

    /// Sets etcd back to a copy, with the API server down meanwhile, as the manual has it.
    pub async fn restore(&mut self, copy: &TempDir) {
        self.server.kill();
        self.etcd.kill();
        std::fs::remove_dir_all(self.etcd.data()).expect("etcd's data to remove");
        copy_folder(copy.path(), &self.etcd.data());
        self.etcd.restart();
        self.restart_server().await;
    }

    /// Makes etcd forget all but the last state of everything.
    pub fn compact(&self) {
        self.etcd.compact();
    }

    async fn wait_ready(&self) {
        let begin = Instant::now();
        while !self.is_ready().await {
            self.etcd.assert_running();
            self.server.assert_running();
            assert!(
                begin.elapsed() < GENEROUS,
                "kube-apiserver is not ready; see {}",
                self.folder.path().display()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits for what the server makes after it is ready: its namespaces, and the Service `kubernetes` as the last.
    async fn wait_furnished(&self) {
        let objects = self.objects().await;
        let made = async || {
            let service = "/api/v1/namespaces/default/services/kubernetes";
            (objects.send("GET", service, &serde_json::Value::Null).await.status == 200).then_some(())
        };
        objects.eventually("the API server has a Service", made).await;
    }

    async fn is_ready(&self) -> bool {
        if !self.server.has_certificate() {
            return false;
        }
        let client = self.client().await;
        let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
        within(client.request_text(request)).await.is_some_and(|answer| answer.is_ok())
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder for the copy");
    for entry in std::fs::read_dir(from).expect("a folder to copy") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).expect("a copy");
        }
    }
}

async fn within<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(5), answer).await.ok()
}

/// Where etcd and the programs of Kubernetes are.
pub(crate) fn assets() -> PathBuf {
    let folder = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    folder.expect(
        "KUBEBUILDER_ASSETS must name a folder with etcd and kube-apiserver: run this tier by `make test TIERS=api`, or \
         export KUBEBUILDER_ASSETS=$(tests/setup/kubernetes.sh)",
    )
}
