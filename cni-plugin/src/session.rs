//! What a command works with once it touches the node: the node file, the ledger, the links, the resolver.

use std::time::{Duration, Instant};

use knap_client::Resolver;
use knap_protocol::{AttachmentKey, BootId, NodeFile};

use crate::boot;
use crate::delegate::{Delegates, Exec};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::host_link::HostLinks;
use crate::ledger::{Entry, Ledger, LockedAttachment};
use crate::{logging, node_file};

/// How long a delegate may take at DEL.
pub const DEL_PATIENCE: Duration = Duration::from_secs(60);

/// How long the resolver may take to hear of a release.
pub const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// What a process is given by whoever runs it.
pub struct Process<'a> {
    /// Its variables.
    pub environment: &'a Environment,
    /// How it runs programs.
    pub exec: &'a dyn Exec,
    /// When it started.
    pub started: Instant,
}

/// One call's view of the node.
pub struct Session<'a> {
    /// The node file.
    pub node: NodeFile,
    /// The caller's variables.
    pub environment: &'a Environment,
    /// The ledger.
    pub ledger: Ledger,
    /// The host's links.
    pub links: HostLinks,
    /// The resolver.
    pub resolver: Resolver,
    /// When the call started.
    pub started: Instant,
    exec: &'a dyn Exec,
}

impl<'a> Session<'a> {
    /// Reads the node file, starts the log, opens the ledger. The first side effect of a call.
    pub fn open(process: &Process<'a>) -> Result<Self, Failure> {
        let (node, endpoints) = node_file::load(process.environment)?;
        logging::start(&node.log);
        Ok(Self {
            environment: process.environment,
            ledger: Ledger::open(&node.state_dir)?,
            links: HostLinks::new(&node.state_dir),
            resolver: Resolver::new(&node.node, &node.resolver, endpoints),
            started: process.started,
            exec: process.exec,
            node,
        })
    }

    /// The running boot. Only test builds look at the node file's replacement for it.
    pub fn boot(&self) -> Result<BootId, Failure> {
        let instead = self.node.boot_id_file.as_deref().filter(|_| cfg!(feature = "fault-points"));
        Ok(boot::current(instead)?)
    }

    /// Delegates, searched where the caller says, and then where an attachment's ADD did.
    pub fn delegates(&self, entry: Option<&Entry>) -> Delegates<'_> {
        let callers = self.environment.text("CNI_PATH");
        let then = entry.map(|entry| entry.cni_path.as_str()).filter(|path| *path != callers);
        let path: Vec<&str> =
            [callers.as_str()].into_iter().chain(then).filter(|path| !path.is_empty()).collect();
        Delegates::new(self.exec, &self.node.state_dir, path.join(":"))
    }

    /// An attachment's lock, for a command that has to wait until a running ADD is through, or a delegate of one that was
    /// killed.
    pub fn lock_after_add(&self, key: &AttachmentKey) -> Result<LockedAttachment<'_>, Failure> {
        // The margin is for the last delegate of that ADD to be killed. An orphan has no deadline but its own.
        let patience = self.add_timeout() + Duration::from_secs(5);
        Ok(self.ledger.lock(key, Instant::now() + patience)?)
    }

    /// How long a whole ADD may take.
    pub fn add_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.node.add_timeout_seconds.max(1)))
    }
}
