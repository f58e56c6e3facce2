//! The service in a cluster: the Kubernetes API is the store, and any number of replicas serve.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::stop::Stop;
use super::{ServeError, Started};
use crate::admission::{Policy, RawAttachments};
use crate::attach::Attacher;
use crate::claims::Claims;
use crate::cli::{KubernetesArgs, ServeArgs};
use crate::cluster::authority::ClusterAuthority;
use crate::cluster::certificates::{self, Served};
use crate::cluster::leader::{Candidate, Timing};
use crate::cluster::webhooks::Publisher;
use crate::cluster::{
    AgentAccount, Cluster, Events, NodeLabels, Slipped, connect, kinds, node_tokens, own_networks,
};
use crate::http::{Admission, Readiness, Service};
use crate::identity::Pods;
use crate::metrics::{Measured, Metrics, StoreCalls};
use crate::nodes::{self, Nodes};
use crate::provision::{Provisioner, Rules};
use crate::store::Store;
use crate::store::kubernetes::KubernetesStore;
use crate::view::View;

/// What can be kept for whom.
const RULES: Rules = Rules { sticky: true };
/// Reads at a time that admission reviews cause.
const READS_OF_REVIEWS: usize = 8;

/// Starts every part. The API server may be down, and Knap's kinds missing: then it is not ready until they come.
pub(super) async fn start(
    args: &ServeArgs,
    kubernetes: &KubernetesArgs,
    stop: &Stop,
) -> Result<Started<Measured<KubernetesStore>>, ServeError> {
    let config = connect::given_or_inferred(kubernetes.kubeconfig.as_deref()).await?;
    let namespace = kubernetes.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    tracing::info!(server = %config.cluster_url, %namespace, "the Kubernetes API is the store");
    let cluster = KubernetesStore::new(config)?;
    let client = cluster.client();
    let calls = StoreCalls::default();
    let store = Measured::new(cluster.clone(), calls.clone());
    let (view, mut followers) = View::follow(&store);
    let (events, write) = Events::new(cluster.clone());
    let slipped = Arc::new(Slipped::default());
    let tell = Arc::clone(&slipped).write(cluster.clone());
    let (pods, follow) = Pods::follow(&store, move |pod| slipped.see(pod));
    followers.spawn(follow);
    let readiness = Arc::new(Readiness::default());

    let mut parts = JoinSet::new();
    parts.spawn(kinds::explain(cluster.client(), Arc::clone(&view), Arc::clone(&readiness)));
    view.learn_cluster_networks("flags", own_networks::given(&kubernetes.cluster_cidrs));
    parts.spawn(own_networks::follow(cluster.client(), Arc::clone(&view), Arc::clone(&readiness)));
    let (leave, left) = oneshot::channel();
    let candidate = Candidate::new(store.clone(), &namespace, Timing::default());
    let leading = candidate.leading();
    let fencing = nodes::Counters::default();
    let rules = nodes::Rules { gone_node_after: kubernetes.gone_node_after, ..nodes::Rules::default() };
    parts.spawn(write);
    parts.spawn(tell);
    let controllers =
        controllers(cluster, events.clone(), store.clone(), Arc::clone(&view), rules, fencing.clone());
    parts.spawn(candidate.run(stop.clone().wished(), leave, controllers));

    let unprepared = |error| ServeError::Certificate(Box::new(error));
    let served = Served::provisional().map_err(unprepared)?;
    let tls = Some(served.config().map_err(unprepared)?);
    let names = tls_names(args, kubernetes);
    let webhooks = Publisher::new(client);
    let keeper =
        certificates::Keeper::new(store.clone(), &namespace, names, served, Arc::clone(&readiness), webhooks);
    parts.spawn(keeper.run());
    let (keeper, keyring) = node_tokens::Keeper::new(store.clone(), &namespace, Arc::clone(&readiness));
    parts.spawn(keeper.run());
    let agent = kubernetes.agent_service_account.clone();
    let agent = agent.unwrap_or_else(|| AgentAccount::default_in(&namespace));
    let authority = ClusterAuthority::new(store.clone(), store.clone(), Arc::clone(&view), keyring, agent);

    let metrics = |attacher: &Attacher<_>| {
        Metrics::new(&view, &calls, attacher.counters())
            .with_fencing(&fencing)
            .with_pods(&pods)
            .with_leader(leading)
    };
    let attacher = Attacher::new(store.clone(), Arc::clone(&view)).asking(Arc::clone(&pods)).telling(events);
    let service = Arc::new(Service {
        metrics: metrics(&attacher),
        attacher,
        admission: Some(Admission::new(policy(kubernetes), store.apart(READS_OF_REVIEWS))),
        store,
        view,
        authority: Box::new(authority),
        readiness,
        store_name: "kubernetes",
        broken_manifests: Box::new(Vec::new),
    });
    Ok(Started { service, parts, followers, tls, left })
}

/// How admission reviews are answered.
fn policy(kubernetes: &KubernetesArgs) -> Policy {
    let raw_attachments = RawAttachments::new(kubernetes.raw_attachments, &kubernetes.raw_attachments_exempt);
    Policy { rules: RULES, raw_attachments }
}

/// What nodes know this service by: what was given, and loopback, where a test or a person on this machine asks.
fn tls_names(args: &ServeArgs, kubernetes: &KubernetesArgs) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if !args.listen.ip().is_unspecified() {
        names.insert(args.listen.ip().to_string());
    }
    names.extend(kubernetes.tls_names.iter().cloned());
    names
}

/// What one of all replicas does.
fn controllers<S: Store>(
    cluster: KubernetesStore,
    events: Events,
    store: S,
    view: Arc<View>,
    of_nodes: nodes::Rules,
    fencing: nodes::Counters,
) -> impl Fn() -> JoinSet<()> {
    move || {
        let mut controllers = JoinSet::new();
        let around = Cluster::new(&cluster, &view, events.clone(), &mut controllers);
        let provisioner = Provisioner::among(around, store.clone(), Arc::clone(&view), RULES);
        controllers.spawn(provisioner.run(oneshot::channel().0));
        let nodes = Nodes::new(store.clone(), Arc::clone(&view), of_nodes, fencing.clone());
        controllers.spawn(nodes.run());
        controllers.spawn(Claims::new(store.clone(), Arc::clone(&view)).run());
        controllers.spawn(NodeLabels::new(cluster.client(), Arc::clone(&view)).run());
        controllers
    }
}
