//! The one cluster of a file of tests: it takes a quarter of a minute to start.

use std::ops::{Deref, DerefMut};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::cluster::Cluster;
use crate::stale::sweep_at_end;

static SHARED: RwLock<Option<Cluster>> = RwLock::const_new(None);

/// A test's use of the cluster, beside other tests; where the test fails, it shows what the cluster has to say.
#[derive(Debug)]
pub struct Session(RwLockReadGuard<'static, Option<Cluster>>);

/// A test's use of the cluster alone, to break things in it.
#[derive(Debug)]
pub struct Alone(RwLockWriteGuard<'static, Option<Cluster>>);

impl Cluster {
    /// The cluster that all tests of one file share, with a node and Knap on it, as `deploy/` puts it there. The thread that calls this is
    /// in its control plane's namespace from then on, and so is what it starts. The cluster ends after the last test.
    pub async fn shared() -> Session {
        drop(Self::alone().await);
        let session = Session(SHARED.read().await);
        session.control.enter_for_good();
        session
    }

    /// The same, once no other test uses it, and for this one only.
    pub async fn alone() -> Alone {
        let mut shared = SHARED.write().await;
        if shared.is_none() {
            sweep_at_end();
            let mut cluster = Self::start(1).await;
            cluster.deploy().await;
            *shared = Some(cluster);
        }
        let alone = Alone(shared);
        alone.control.enter_for_good();
        alone
    }
}

impl Deref for Session {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0.as_ref().expect("a cluster that was started")
    }
}

impl Deref for Alone {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0.as_ref().expect("a cluster that was started")
    }
}

impl DerefMut for Alone {
    fn deref_mut(&mut self) -> &mut Cluster {
        self.0.as_mut().expect("a cluster that was started")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        tell(self);
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        tell(self);
        if std::thread::panicking() {
            // Broken as it may be, it is nothing for the next test.
            self.0.take();
        }
    }
}

fn tell(cluster: &Cluster) {
    if std::thread::panicking() {
        eprintln!("{}", cluster.last_words());
    }
}
