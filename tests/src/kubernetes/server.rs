//! kube-apiserver, with its certificates, keys and tokens in the test's folder.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::json;

use super::audit::Audit;
use super::daemon::Daemon;
use super::{ADMIN, NOBODY, RESOLVER};
use super::{audit, ports, roles};
use crate::waiting::freeze;

#[derive(Debug)]
pub(super) struct Server {
    program: PathBuf,
    folder: PathBuf,
    etcd: String,
    /// Where nodes reach it; where there is none, it is on loopback.
    address: Option<Ipv4Addr>,
    port: u16,
    daemon: Option<Daemon>,
    /// What users ask, as it is noted; of each of its lives.
    audits: Vec<Audit>,
}

impl Server {
    pub(super) fn start(assets: &Path, folder: &Path, etcd: String, address: Option<Ipv4Addr>) -> Self {
        let mut server = Self {
            program: assets.join("kube-apiserver"),
            folder: folder.join("kube-apiserver"),
            etcd,
            address,
            port: ports::free(),
            daemon: None,
            audits: Vec::new(),
        };
        fs::create_dir_all(&server.folder).expect("a folder for kube-apiserver");
        let tokens = format!("{ADMIN},{ADMIN},{ADMIN},system:masters\n{NOBODY},{NOBODY},{NOBODY},\n");
        let tokens = tokens + &roles::token_line();
        fs::write(server.tokens(), tokens).expect("a file of tokens");
        fs::write(server.audit_policy(), audit::policy().to_string()).expect("an audit policy");
        for user in [ADMIN, NOBODY, RESOLVER] {
            server.write_kubeconfig(user);
        }
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(server.private_key(), key.serialize_pem())
            .expect("a key that signs service accounts' tokens");
        fs::write(server.public_key(), key.public_key_pem()).expect("its public half");
        server.restart();
        server
    }

    /// Starts it, after [`Server::kill`] with the certificate and the port that it had.
    pub(super) fn restart(&mut self) {
        assert!(self.daemon.is_none(), "kube-apiserver runs already");
        let notes = Audit::of_life(&self.folder, self.audits.len());
        let mut arguments = vec![
            format!("--etcd-servers={}", self.etcd),
            format!("--cert-dir={}", self.folder.display()),
            format!("--advertise-address={}", self.host()),
            format!("--secure-port={}", self.port),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.public_key().display()),
            format!("--service-account-signing-key-file={}", self.private_key().display()),
            format!("--token-auth-file={}", self.tokens().display()),
            "--authorization-mode=RBAC".to_owned(),
            format!("--audit-policy-file={}", self.audit_policy().display()),
            format!("--audit-log-path={}", notes.path().display()),
        ];
        let more: &[&str] = if self.address.is_some() {
            &[
                "--bind-address=0.0.0.0",
                "--allow-privileged=true",
                "--kubelet-preferred-address-types=InternalIP",
                // Webhooks are called at their pods' addresses: there is no kube-proxy beside this server.
                "--enable-aggregator-routing=true",
            ]
        } else {
            // Nobody is told of an API server on loopback.
            &["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]
        };
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        self.daemon = Some(Daemon::start(&self.program, &arguments, &self.folder.join("log")));
        self.audits.push(notes);
    }

    pub(super) fn kill(&mut self) {
        self.daemon.take().expect("a running kube-apiserver");
    }

    pub(super) fn freeze(&self) {
        freeze(self.daemon.as_ref().expect("a running kube-apiserver").pid());
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.daemon.as_ref().expect("a running kube-apiserver").signal(signal);
    }

    /// # Panics
    /// With its last words, if it has ended.
    pub(super) fn assert_running(&self) {
        let daemon = self.daemon.as_ref().expect("a running kube-apiserver");
        assert!(daemon.is_running(), "kube-apiserver has ended: {}", daemon.last_words());
    }

    /// Whether it has made its certificate, which a kubeconfig needs.
    pub(super) fn has_certificate(&self) -> bool {
        self.certificate().is_file() && self.folder.join("apiserver.key").is_file()
    }

    /// The kubeconfig of one of its users.
    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.kubeconfig"))
    }

    fn write_kubeconfig(&self, user: &str) {
        // JSON is YAML too.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": {
                "server": self.url(), "certificate-authority": self.certificate(),
            } }],
            "users": [{ "name": user, "user": { "token": user } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": user } }],
        });
        fs::write(self.kubeconfig(user), config.to_string()).expect("a kubeconfig");
    }

    /// Where it is reached.
    pub(super) fn url(&self) -> String {
        format!("https://{}:{}", self.host(), self.port)
    }

    /// The address that it and all that belongs to it is reached at.
    pub(super) fn host(&self) -> Ipv4Addr {
        self.address.unwrap_or(Ipv4Addr::LOCALHOST)
    }

    /// What it is trusted by.
    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("apiserver.crt")
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    fn audit_policy(&self) -> PathBuf {
        self.folder.join("audit-policy.json")
    }

    /// What was noted in its lives.
    pub(super) fn audits(&self) -> &[Audit] {
        &self.audits
    }

    /// Says that it serves: from here on it knows all roles.
    pub(super) fn serves(&mut self) {
        self.audits.last_mut().expect("a life of the server").counts_from_here();
    }

    /// What signs service accounts' tokens.
    pub(super) fn private_key(&self) -> PathBuf {
        self.folder.join("service-accounts.key")
    }

    fn public_key(&self) -> PathBuf {
        self.folder.join("service-accounts.pub")
    }
}
