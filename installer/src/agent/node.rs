//! What all duties know of the node, and what they tell each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use knap_client::{Endpoint, Resolver};
use knap_protocol::{BootId, NodeFile, ResolverAccess};

use super::board::Board;
use super::clock::{BootClock, Clock};
use super::signals::{Duty, Signals};
use crate::cli::{Agent, HostPaths};

/// Where the kernel tells its boot's ID; the same in every container.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The node that an agent looks after.
pub(crate) struct Node {
    pub(crate) paths: HostPaths,
    pub(crate) settings: Agent,
    /// What the node file should say.
    pub(crate) file: NodeFile,
    pub(crate) board: Board,
    pub(crate) signals: Signals,
    pub(crate) clock: Box<dyn Clock>,
    endpoints: Vec<Endpoint>,
    plugin_version: Mutex<Option<String>>,
    token_refused: AtomicBool,
    serves: AtomicBool,
    looked: AtomicU64,
}

impl Node {
    /// As the arguments say. Touches nothing.
    pub(crate) fn new(paths: &HostPaths, settings: &Agent) -> anyhow::Result<Self> {
        Self::with_clock(paths, settings, Box::new(BootClock))
    }

    /// The same with another clock.
    pub(crate) fn with_clock(
        paths: &HostPaths,
        settings: &Agent,
        clock: Box<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let endpoints = settings.endpoints()?;
        Ok(Self {
            paths: paths.clone(),
            settings: settings.clone(),
            file: settings.node_file(paths, &endpoints),
            board: Board::default(),
            signals: Signals::default(),
            looked: AtomicU64::new(clock.since_boot().as_secs()),
            clock,
            endpoints,
            plugin_version: Mutex::new(None),
            token_refused: AtomicBool::new(false),
            serves: AtomicBool::new(false),
        })
    }

    /// Where a path of the host is from here.
    pub(crate) fn here(&self, path: &Path) -> PathBuf {
        self.paths.here(path)
    }

    /// The resolver, called with the same token and authorities as the plugin does.
    pub(crate) fn resolver(&self) -> Resolver {
        self.resolver_by(self.here(&self.file.resolver.token_file), self.ca_file())
    }

    /// The resolver, called with other files: paths of ours.
    pub(crate) fn resolver_by(&self, token_file: PathBuf, ca_file: Option<PathBuf>) -> Resolver {
        let access = ResolverAccess { endpoints: Vec::new(), ca_file, token_file };
        Resolver::new(&self.file.node, &access, self.endpoints.clone())
    }

    /// The authorities that the plugin trusts: a path of ours.
    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        self.file.resolver.ca_file.as_deref().map(|path| self.here(path))
    }

    /// Whether the resolver proves itself by a certificate.
    pub(crate) fn uses_tls(&self) -> bool {
        self.endpoints.iter().any(Endpoint::tls)
    }

    /// The running boot.
    pub(crate) fn boot_id(&self) -> anyhow::Result<BootId> {
        let file = match &self.settings.boot_id_file {
            Some(file) => self.here(file),
            None => PathBuf::from(BOOT_ID_FILE),
        };
        let text = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
        text.trim().parse().with_context(|| format!("{} holds no boot ID", file.display()))
    }

    /// Between looks.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.settings.interval)
    }

    /// The version of the installed plugin, while there is one that works.
    pub(crate) fn plugin_version(&self) -> Option<String> {
        self.version().clone()
    }

    /// Says which plugin is installed.
    pub(crate) fn set_plugin_version(&self, version: Option<String>) {
        *self.version() = version;
    }

    /// The resolver has refused the node's token: it is obtained anew.
    pub(crate) fn refuse_token(&self) {
        self.token_refused.store(true, Ordering::Relaxed);
        self.signals.ring(Duty::Credential);
    }

    /// Whether the token was refused since this was last asked.
    pub(crate) fn token_was_refused(&self) -> bool {
        self.token_refused.swap(false, Ordering::Relaxed)
    }

    /// Says that the host's files have been looked at.
    pub(crate) fn looked(&self) {
        self.looked.store(self.clock.since_boot().as_secs(), Ordering::Relaxed);
    }

    /// When the host's files were last looked at, since boot.
    pub(crate) fn last_look(&self) -> Duration {
        Duration::from_secs(self.looked.load(Ordering::Relaxed))
    }

    /// True for the first who asks.
    pub(crate) fn begins_to_serve(&self) -> bool {
        !self.serves.swap(true, Ordering::Relaxed)
    }

    fn version(&self) -> MutexGuard<'_, Option<String>> {
        self.plugin_version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Node {
    /// One whose files are in this folder, whose resolver is away, and whose time is the test's.
    pub(crate) fn for_tests(folder: &Path, clock: &super::clock::SetClock) -> Self {
        use clap::Parser;

        use crate::cli::{Arguments, Command};

        let path = |name: &str| folder.join(name).display().to_string();
        let arguments = Arguments::parse_from([
            "knap-installer",
            "--bin-dir",
            &path("bin"),
            "--config-dir",
            &path("conf"),
            "--state-dir",
            &path("state"),
            "agent",
            "--node=n1",
            "--endpoint=http://127.0.0.1:9",
            "--service-account-token",
            &path("pod-token"),
        ]);
        let Command::Agent(settings) = &arguments.command else { panic!("another command") };
        Self::with_clock(&arguments.paths, settings, Box::new(clock.clone())).unwrap()
    }
}
