//! The API server has to trust the resolver, whatever happens to certificates and to what holds them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use knap_resolver::cluster::webhooks::MatchConditions;
use knap_tests::kubernetes::trust::published;
use knap_tests::{GENEROUS, KubernetesApi, Objects, WEBHOOKS};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::{NETWORKS, asked};

/// A Network that nobody lets in who was asked.
fn refused() -> Value {
    json!({"apiVersion": "knap.github.com/v1alpha1", "kind": "Network", "metadata": {"name": "never"},
        "spec": {"provider": "bridge", "subnets": ["10.0.0.0/24"]}})
}

/// The certificates that the API server trusts.
async fn trusted(objects: &Objects) -> Vec<Option<ByteString>> {
    let validating =
        Api::<ValidatingWebhookConfiguration>::all(objects.client.clone()).get(WEBHOOKS).await.unwrap();
    let mutating =
        Api::<MutatingWebhookConfiguration>::all(objects.client.clone()).get(WEBHOOKS).await.unwrap();
    let validating = validating.webhooks.into_iter().flatten().map(|webhook| webhook.client_config.ca_bundle);
    let mutating = mutating.webhooks.into_iter().flatten().map(|webhook| webhook.client_config.ca_bundle);
    validating.chain(mutating).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_and_no_review_is_lost() {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    // As in the tests of TLS: authorities of 48 seconds, certificates of 18, published for 8 before they sign.
    let mut replica = api.replica(&[]).with("KNAP_CERTIFICATE_SECONDS", "48,18,8");
    api.install_webhooks(&replica).await;
    replica.start();
    replica.wait_ready().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.webhooks_answer().await;
    let (mut bundles, mut reviews, begin) = (HashSet::new(), 0, Instant::now());
    while bundles.len() < 4 {
        bundles.insert(published(&objects.client).await.unwrap());
        for _ in 0..20 {
            // What can't be asked about is let in here, so that a lost review shows.
            let written = objects.would_create(NETWORKS, &refused()).await;
            assert!(
                written.refused().is_some_and(|why| why.contains("denied the request")),
                "{reviews}: {written:?}"
            );
            reviews += 1;
        }
        assert!(begin.elapsed() < GENEROUS, "{} bundles", bundles.len());
    }
    assert!(reviews > 100, "{reviews}");
}

#[tokio::test]
async fn what_is_applied_after_the_resolver_is_trusted_soon() {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let mut replica = api.replica(&[]);
    replica.start();
    replica.wait_ready().await;
    // It has looked and found nothing.
    tokio::time::sleep(Duration::from_secs(2)).await;
    api.install_webhooks(&replica).await;
    let objects = api.objects().await;
    // Half as long as it waits between looks while all is well.
    let all_trusted = async || trusted(&objects).await.iter().all(Option::is_some).then_some(());
    let (patience, pause) = (Duration::from_secs(30), Duration::from_millis(200));
    objects.eventually_within(patience, pause, "the API server trusts it", all_trusted).await;
}

#[tokio::test]
async fn what_is_changed_by_hand_is_put_right() {
    let (api, _replica) = asked(&[]).await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    let right = trusted(&objects).await;
    assert!(right.iter().all(|bundle| bundle.is_some() && *bundle == right[0]), "{right:?}");

    let webhooks = Api::<ValidatingWebhookConfiguration>::all(objects.client.clone());
    let mut changed = webhooks.get(WEBHOOKS).await.unwrap();
    for webhook in changed.webhooks.iter_mut().flatten() {
        webhook.client_config.ca_bundle = None;
        webhook.timeout_seconds = Some(7);
    }
    webhooks.replace(WEBHOOKS, &PostParams::default(), &changed).await.unwrap();
    objects.eventually("it is put right", async || (trusted(&objects).await == right).then_some(())).await;
    let healed = webhooks.get(WEBHOOKS).await.unwrap();
    let timeouts: Vec<_> =
        healed.webhooks.into_iter().flatten().map(|webhook| webhook.timeout_seconds).collect();
    assert_eq!(timeouts, [Some(7); 3], "what else is there stays");
    objects.webhooks_answer().await;
}

#[tokio::test]
async fn where_conditions_are_not_known_pods_pass_in_the_end() {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let mut replica = api.replica(&[]).with("KNAP_CERTIFICATE_SECONDS", "2000,1000,100");
    // As for a server of today; this one drops what it does not know.
    api.install_webhooks_for(&replica, MatchConditions::Known).await;
    let objects = api.objects().await;
    let policies = async || -> Vec<String> {
        let webhooks =
            Api::<MutatingWebhookConfiguration>::all(objects.client.clone()).get(WEBHOOKS).await.unwrap();
        webhooks.webhooks.into_iter().flatten().filter_map(|webhook| webhook.failure_policy).collect()
    };
    assert_eq!(policies().await, ["Fail", "Ignore"]);
    replica.start();
    objects.eventually("pods pass", async || (policies().await == ["Ignore", "Ignore"]).then_some(())).await;
    replica.wait_logged("knows no match conditions").await;
}
