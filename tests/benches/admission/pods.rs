//! Pods made through the API server: in a namespace that the resolver is asked about, and in one that it is not, in turn.

use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use knap_tests::{Objects, WEBHOOKS};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Spread;

const WARM_UP: usize = 20;
const ROUNDS: usize = 300;

/// How long the API server took for a pod.
#[derive(Debug, Serialize)]
pub(crate) struct Pods {
    rounds: usize,
    /// Where the resolver is not asked.
    without: Spread,
    /// Where it is, about a pod that asks for nothing. With match conditions it would not be.
    asking_nothing: Spread,
    /// Where it is, about a pod that asks for a Network.
    asking: Spread,
}

impl Pods {
    pub(crate) fn print(&self) {
        println!("\n{} pods of each through the API server, in turn", self.rounds);
        self.without.print("no webhook", "");
        self.asking_nothing.print("webhook, asks for nothing", "not called with match conditions");
        self.asking.print("webhook, asks for a Network", "");
        println!(
            "  {:<34} {:>7.2}",
            "    asks for a Network / no webhook",
            self.asking.median / self.without.median
        );
    }
}

pub(crate) async fn measure(objects: &Objects) -> Pods {
    limit_to_labelled(objects).await;
    let network = json!({"knap.github.com/networks": "net-7"});
    let mut runs = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..WARM_UP + ROUNDS {
        let took = [
            made(objects, "bare", &json!({})).await,
            made(objects, "shop", &json!({})).await,
            made(objects, "shop", &network).await,
        ];
        if round >= WARM_UP {
            runs.iter_mut().zip(took).for_each(|(runs, took)| runs.push(took));
        }
    }
    let [without, asking_nothing, asking] = runs.map(Spread::of);
    Pods { rounds: ROUNDS, without, asking_nothing, asking }
}

/// From now on the resolver is asked about pods of namespaces labelled `asked: "true"` alone.
async fn limit_to_labelled(objects: &Objects) {
    let selector = json!({ "matchLabels": { "asked": "true" } });
    let patch = json!({ "webhooks": [{ "name": "pods.knap.github.com", "namespaceSelector": selector }] });
    let api = Api::<MutatingWebhookConfiguration>::all(objects.client.clone());
    api.patch(WEBHOOKS, &PatchParams::default(), &Patch::Strategic(patch)).await.expect("the webhook object");
    // The API server learns of it by a watch: a pod that nobody may have is let in where it does not ask.
    let refused = pod(&json!({"knap.github.com/networks": "Nobody's"}));
    objects
        .eventually("only labelled namespaces are asked about", async || {
            let elsewhere = objects.would_create("/api/v1/namespaces/bare/pods", &refused).await;
            (elsewhere.status == 201).then_some(())
        })
        .await;
}

async fn made(objects: &Objects, namespace: &str, annotations: &Value) -> Duration {
    let (path, pod) = (format!("/api/v1/namespaces/{namespace}/pods"), pod(annotations));
    let begin = Instant::now();
    let written = objects.send("POST", &path, &pod).await;
    let took = begin.elapsed();
    assert_eq!(written.status, 201, "{written:?}");
    took
}

fn pod(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-", "annotations": annotations},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "web", "image": "web"}]},
    })
}
