//! The webhooks of a test's API: made as an administrator makes them, waited for, and asked through the API server.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use knap_resolver::cluster::webhooks::{MatchConditions, ObjectsOf, WebhookObjects};
use kube::api::{Api, DeleteParams, PostParams};
use kube::client::Body;
use serde_json::{Value, json};

use super::{KubernetesApi, Objects, Replica};

/// Name of both objects.
pub const WEBHOOKS: &str = "networks.knap.github.com";

impl KubernetesApi {
    /// Makes the webhook objects, for an API server that knows no match conditions, which this one does not.
    pub async fn install_webhooks(&self, replica: &Replica) {
        self.install_webhooks_for(replica, MatchConditions::Unknown).await;
    }

    /// The same, for an API server that does or does not know match conditions.
    pub async fn install_webhooks_for(&self, replica: &Replica, conditions: MatchConditions) {
        let client = self.client().await;
        let objects = WebhookObjects::new(&ObjectsOf::Url(replica.endpoint()), conditions, false);
        for object in objects {
            match object {
                WebhookObjects::Validating(object) => {
                    let api = Api::<ValidatingWebhookConfiguration>::all(client.clone());
                    api.create(&PostParams::default(), &object).await.expect("a new webhook object");
                }
                WebhookObjects::Mutating(object) => {
                    let api = Api::<MutatingWebhookConfiguration>::all(client.clone());
                    api.create(&PostParams::default(), &object).await.expect("a new webhook object");
                }
            }
        }
    }

    /// A busy machine is no reason to let a pod pass unasked.
    pub async fn have_pods_wait_for_webhooks(&self) {
        let api = Api::<MutatingWebhookConfiguration>::all(self.client().await);
        let count = api.get(WEBHOOKS).await.expect("a webhook object").webhooks.map_or(0, |all| all.len());
        let patience = |number| json!({ "op": "replace", "path": format!("/webhooks/{number}/timeoutSeconds"), "value": 30 });
        let patch: Value = (0..count).map(patience).collect();
        self.kubectl_ok(
            &format!("patch mutatingwebhookconfigurations {WEBHOOKS} --type=json --patch={patch}"),
            "",
        );
    }

    /// Removes the webhook objects.
    pub async fn remove_webhooks(&self) {
        let client = self.client().await;
        let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone());
        validating.delete(WEBHOOKS, &DeleteParams::default()).await.expect("a webhook object");
        let mutating = Api::<MutatingWebhookConfiguration>::all(client);
        mutating.delete(WEBHOOKS, &DeleteParams::default()).await.expect("a webhook object");
    }
}

/// What the API server answered to whoever would write an object.
#[derive(Debug, Clone)]
pub struct Written {
    /// The HTTP status.
    pub status: u16,
    /// The object, or the refusal.
    pub body: Value,
    /// What it warns of.
    pub warnings: Vec<String>,
}

impl Written {
    /// The refusal's message.
    pub fn refused(&self) -> Option<&str> {
        (self.status >= 400).then(|| self.body["message"].as_str().expect("a status with a message"))
    }
}

impl Objects {
    /// Would create this object, `POST` to this path; nothing is kept.
    pub async fn would_create(&self, path: &str, object: &Value) -> Written {
        self.send("POST", &format!("{path}?dryRun=All"), object).await
    }

    /// The same as another user, who may do so.
    pub async fn would_create_as(&self, user: &str, path: &str, object: &Value) -> Written {
        let rule = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["create"] }]);
        let role = json!({ "metadata": { "name": user }, "rules": rule });
        let binding = json!({
            "metadata": { "name": user }, "subjects": [{ "kind": "User", "name": user }],
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user },
        });
        for (kind, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
            let made =
                self.send("POST", &format!("/apis/rbac.authorization.k8s.io/v1/{kind}"), &object).await;
            assert!(matches!(made.status, 201 | 409), "{made:?}");
        }
        self.eventually("the user may do so", async || {
            let written = self.send_as(Some(user), "POST", &format!("{path}?dryRun=All"), object).await;
            let forbidden = written.refused().is_some_and(|message| message.contains("cannot create"));
            (!forbidden).then_some(written)
        })
        .await
    }

    /// Would change an object by this merge patch; nothing is kept.
    pub async fn would_change(&self, path: &str, patch: &Value) -> Written {
        self.send("PATCH", &format!("{path}?dryRun=All"), patch).await
    }

    /// Sends a request to the API server, with what it warns of in the answer.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Written {
        self.send_as(None, method, path, body).await
    }

    async fn send_as(&self, user: Option<&str>, method: &str, path: &str, body: &Value) -> Written {
        let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header("content-type", media_type);
        let request = match user {
            Some(user) => request.header("impersonate-user", user),
            None => request,
        };
        let request = request.body(Body::from(body.to_string().into_bytes())).expect("a request");
        let response = self.client.send(request).await.expect("an answer");
        let status = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| warning(value.to_str().unwrap_or_default())).collect();
        let bytes = response.into_body().collect_bytes().await.expect("a whole answer");
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| json!({ "message": String::from_utf8_lossy(&bytes) }));
        Written { status, body, warnings }
    }

    /// Waits until the API server trusts the resolver that its webhooks lead to, and asks it.
    pub async fn webhooks_answer(&self) {
        let bad = json!({
            "apiVersion": "knap.github.com/v1alpha1", "kind": "Network", "metadata": {"name": "webhook-probe"},
            "spec": {"provider": "bridge", "subnets": ["10.0.0.0/24"]}
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "webhook-probe", "annotations": {"knap.github.com/networks": "No"}},
            "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}
        });
        self.service_account("default").await;
        let refuses = async |path: &str, object: &Value| {
            let written = self.would_create(path, object).await;
            written.refused().is_some_and(|message| message.contains(".knap.github.com\" denied"))
        };
        self.eventually("the webhooks are asked", async || {
            let networks = "/apis/knap.github.com/v1alpha1/namespaces/default/networks";
            let asked =
                refuses(networks, &bad).await && refuses("/api/v1/namespaces/default/pods", &pod).await;
            asked.then_some(())
        })
        .await;
    }

    /// Makes the account that pods of a namespace run as, where no controller does.
    pub async fn service_account(&self, namespace: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let made = self.send("POST", &path, &json!({ "metadata": { "name": "default" } })).await;
        assert!(matches!(made.status, 201 | 409), "{made:?}");
    }
}

/// `299 - "the text"`, with quotes in it escaped.
fn warning(header: &str) -> String {
    let text = header.split_once('"').map_or(header, |(_, text)| text.strip_suffix('"').unwrap_or(text));
    text.replace("\\\"", "\"").replace("\\\\", "\\")
}
