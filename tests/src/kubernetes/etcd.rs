//! etcd, with its data in the test's folder.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::ports;

#[derive(Debug)]
pub(super) struct Etcd {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    daemon: Option<Daemon>,
}

impl Etcd {
    pub(super) fn start(assets: &Path, folder: &Path) -> Self {
        let mut etcd = Self {
            program: assets.join("etcd"),
            folder: folder.join("etcd"),
            port: ports::free(),
            daemon: None,
        };
        std::fs::create_dir_all(&etcd.folder).expect("a folder for etcd");
        etcd.restart();
        etcd
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it, after [`Etcd::kill`] with the data that it had. Whoever uses it waits for it.
    pub(super) fn restart(&mut self) {
        assert!(self.daemon.is_none(), "etcd runs already");
        let arguments = [
            format!("--data-dir={}", self.data().display()),
            format!("--listen-client-urls={}", self.url()),
            format!("--advertise-client-urls={}", self.url()),
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            // The process is killed here, never the machine.
            "--unsafe-no-fsync".to_owned(),
        ];
        self.daemon = Some(Daemon::start(&self.program, &arguments, &self.folder.join("log")));
    }

    pub(super) fn kill(&mut self) {
        self.daemon.take().expect("a running etcd");
    }

    /// # Panics
    /// With its last words, if it has ended.
    pub(super) fn assert_running(&self) {
        let daemon = self.daemon.as_ref().expect("a running etcd");
        assert!(daemon.is_running(), "etcd has ended: {}", daemon.last_words());
    }

    /// Where its data is; to be copied or replaced only while it is killed.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Forgets all but the last state of everything, as the API server has it done every few minutes.
    pub(super) fn compact(&self) {
        // "AA==" is the key of one zero byte: what is asked for is the answer's header.
        let now = self.ask("/v3/kv/range", &json!({ "key": "AA==" }));
        let revision = now["header"]["revision"].clone();
        self.ask("/v3/kv/compaction", &json!({ "revision": revision, "physical": true }));
    }

    fn ask(&self, path: &str, question: &Value) -> Value {
        let url = format!("{}{path}", self.url());
        let mut answer =
            ureq::post(&url).send_json(question).unwrap_or_else(|error| panic!("{url}: {error}"));
        answer.body_mut().read_json().unwrap_or_else(|error| panic!("{url}: {error}"))
    }
}
