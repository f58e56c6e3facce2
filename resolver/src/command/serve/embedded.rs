//! The service on the embedded store: a folder of manifests, a state file.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{ServeError, Started};
use crate::attach::Attacher;
use crate::cli::EmbeddedArgs;
use crate::http::{Readiness, Service, TokenFile};
use crate::manifests::Folder;
use crate::metrics::{Measured, Metrics, StoreCalls};
use crate::nodes::{self, Nodes};
use crate::provision::{Provisioner, Rules};
use crate::store::embedded::EmbeddedStore;
use crate::view::View;

/// Starts every part in the order in which they need each other. When it returns, the manifests have been applied and
/// every Network has been looked at.
pub(super) async fn start(store: &EmbeddedArgs) -> Result<Started<Measured<EmbeddedStore>>, ServeError> {
    let token = TokenFile::open(&store.token_file)?;
    let mut folder = Folder::new(&store.manifests);
    let calls = StoreCalls::default();
    let store = Measured::new(EmbeddedStore::open(&store.state)?, calls.clone());
    folder.apply_once(&store).await?;
    let broken = folder.broken();

    let (view, followers) = View::follow(&store);
    let (first_pass, provisioned) = oneshot::channel();
    let provisioner = Provisioner::new(store.clone(), Arc::clone(&view), Rules { sticky: false });
    let mut parts = JoinSet::new();
    parts.spawn(provisioner.run(first_pass));
    parts.spawn(folder.watch(store.clone()));
    let fencing = nodes::Counters::default();
    let nodes = Nodes::new(store.clone(), Arc::clone(&view), nodes::Rules::default(), fencing.clone());
    parts.spawn(nodes.run());
    provisioned.await.map_err(|_| ServeError::Ended("controller"))?;

    let attacher = Attacher::new(store.clone(), Arc::clone(&view));
    let service = Arc::new(Service {
        metrics: Metrics::new(&view, &calls, attacher.counters()).with_fencing(&fencing),
        attacher,
        admission: None,
        store,
        view,
        authority: Box::new(token),
        readiness: Arc::new(Readiness::default()),
        store_name: "embedded",
        broken_manifests: Box::new(move || broken.borrow().iter().map(ToString::to_string).collect()),
    });
    // There is no other to hand over to.
    let (_, left) = oneshot::channel();
    Ok(Started { service, parts, followers, tls: None, left })
}
