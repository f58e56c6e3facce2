//! What the API server does without Knap: the very objects that an attachment makes, created and deleted by as many clients.

use std::time::Instant;

use futures::{StreamExt, stream};
use knap_api::NetworkLease;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};

/// Leases as a resolver makes them, of a Network that is not there.
pub(crate) fn leases_like(lease: &NetworkLease, count: usize) -> Vec<NetworkLease> {
    let leases = (0..count).map(|number| {
        let mut spec = lease.spec.clone();
        spec.network.name = "raw".to_owned();
        spec.slot = u32::try_from(number).expect("a slot");
        let mut like = NetworkLease::new(&format!("{}.raw-{number}", spec.network.namespace), spec);
        like.metadata.labels.clone_from(&lease.metadata.labels);
        like
    });
    leases.collect()
}

/// Creations and deletions per second, by so many clients at once. The deletions are of what was read, as Knap's are.
pub(crate) async fn pairs(client: &Client, leases: &[NetworkLease], clients: usize) -> (f64, f64) {
    let api = Api::<NetworkLease>::all(client.clone());
    let begin = Instant::now();
    let create = stream::iter(leases).map(|lease| {
        let api = &api;
        async move { api.create(&PostParams::default(), lease).await.expect("a lease") }
    });
    let made: Vec<NetworkLease> = create.buffer_unordered(clients).collect().await;
    let created = rate(made.len(), begin);
    let begin = Instant::now();
    let delete = stream::iter(&made).map(|lease| {
        let api = &api;
        let preconditions = Preconditions { uid: lease.uid(), resource_version: lease.resource_version() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        async move { api.delete(&lease.name_any(), &parameters).await.expect("a deletion") }
    });
    delete.buffer_unordered(clients).for_each(|_| async {}).await;
    (created, rate(made.len(), begin))
}

/// Per second.
pub(crate) fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}
