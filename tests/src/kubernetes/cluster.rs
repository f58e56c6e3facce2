//! An API with a healthy resolver that leads: what tests share that bring replicas of their own.

use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use super::{KubernetesApi, Replica};

static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// The API and its leader. Each test has namespaces and replicas of its own, and breaks nothing of these.
#[derive(Debug)]
pub struct Cluster {
    /// Holds the leader's Lease, so that no other replica's test decides when Networks become Ready. Before the API, so that
    /// it ends first.
    pub leader: Replica,
    /// With Knap's kinds.
    pub api: KubernetesApi,
}

impl Cluster {
    /// The one that all tests share which run at this time.
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let api = KubernetesApi::start().await;
        api.install_crds().await;
        let leader = api.start_replica().await;
        let cluster = Arc::new(Self { leader, api });
        *shared = Arc::downgrade(&cluster);
        cluster
    }
}
