//! Admission as whoever writes objects meets it: through a real API server.

#[path = "admission/agreement.rs"]
mod agreement;
#[path = "admission/cases.rs"]
mod cases;
#[path = "admission/changes.rs"]
mod changes;
#[path = "admission/outage.rs"]
mod outage;
#[path = "admission/table.rs"]
mod table;
#[path = "admission/trust.rs"]
mod trust;
#[path = "admission/workloads.rs"]
mod workloads;

use knap_tests::{KubernetesApi, Replica};

/// An API with Knap's kinds and Multus', and a replica that it asks, however long an answer takes on a busy machine.
async fn asked(arguments: &[&str]) -> (KubernetesApi, Replica) {
    let (api, replica) = asked_as_deployed(arguments).await;
    api.have_pods_wait_for_webhooks().await;
    (api, replica)
}

/// The same, and no longer than `deploy/` has it wait. Certificates are looked at often.
async fn asked_as_deployed(arguments: &[&str]) -> (KubernetesApi, Replica) {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    api.install_multus_crd().await;
    let mut replica = api.replica(arguments).with("KNAP_CERTIFICATE_SECONDS", "2000,1000,100");
    api.install_webhooks(&replica).await;
    replica.start();
    replica.wait_ready().await;
    api.objects().await.webhooks_answer().await;
    (api, replica)
}

const NETWORKS: &str = "/apis/knap.github.com/v1alpha1/namespaces/shop/networks";
const CLASSES: &str = "/apis/knap.github.com/v1alpha1/networkclasses";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const DEFINITIONS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/shop/network-attachment-definitions";
