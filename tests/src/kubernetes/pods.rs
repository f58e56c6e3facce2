//! Nodes and pods of a test. No kubelet runs them: they are made as if a scheduler and a kubelet had been there.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Objects, Replica};
use crate::GENEROUS;

/// How long one that is restarted may be away.
const AWAY: Duration = Duration::from_secs(20);

/// UIDs of pods that attachments were made for, by kubeconfig and name.
static MADE: LazyLock<Mutex<HashMap<(PathBuf, String), String>>> = LazyLock::new(Mutex::default);

impl Objects {
    /// A Node; made where it is not there.
    pub async fn node(&self, name: &str) -> kube::Result<Node> {
        made(&Api::all(self.client.clone()), json!({ "metadata": { "name": name } })).await
    }

    /// A pod `shop/web-0` that runs on a node; made where it is not there.
    pub async fn pod(&self, pod: &str, node: &str) -> Pod {
        let (namespace, name) = pod.split_once('/').expect("namespace/name");
        self.pod_of(namespace, "default", name, node).await.expect("a pod")
    }

    /// The same, of a service account that is made with it.
    pub async fn pod_of(&self, namespace: &str, account: &str, name: &str, node: &str) -> kube::Result<Pod> {
        self.pod_with(namespace, account, name, json!({ "spec": { "nodeName": node } })).await
    }

    /// The same, with whatever its manifest says besides.
    pub async fn pod_with(
        &self,
        namespace: &str,
        account: &str,
        name: &str,
        manifest: Value,
    ) -> kube::Result<Pod> {
        let accounts = self.in_namespace::<ServiceAccount>(namespace);
        made(&accounts, json!({ "metadata": { "name": account } })).await?;
        let mut pod = manifest;
        pod["metadata"]["name"] = json!(name);
        pod["spec"]["serviceAccountName"] = json!(account);
        pod["spec"]["automountServiceAccountToken"] = json!(false);
        // Nobody confirms its end.
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
        pod["spec"]["containers"] = json!([{ "name": "main", "image": "none", "imagePullPolicy": "Never" }]);
        made(&self.in_namespace::<Pod>(namespace), pod).await
    }
}

impl Replica {
    /// The pod that an attachment of `container` is for, as a PUT names it: made on the node where it was not made before.
    /// Without a UID where it can't be made, since its namespace is missing, say.
    pub(super) async fn pod_for(&self, node: &str, container: &str, namespace: &str) -> Value {
        let name = format!("{}.{node}", container.to_lowercase().replace('_', "-"));
        let key = (self.kubeconfig(), format!("{namespace}/{name}"));
        let known = MADE.lock().expect("no panic under the lock").get(&key).cloned();
        let uid = match known {
            Some(uid) => Some(uid),
            None => {
                let pod = self.objects().await.pod_of(namespace, "default", &name, node).await;
                pod.ok().and_then(|pod| pod.uid())
            }
        };
        let Some(uid) = uid else { return json!({ "namespace": namespace, "name": name }) };
        MADE.lock().expect("no panic under the lock").insert(key, uid.clone());
        json!({ "namespace": namespace, "name": name, "uid": uid })
    }
}

/// The object, created unless it is there.
async fn made<K>(api: &Api<K>, object: Value) -> kube::Result<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).expect("an object of its kind");
    let begin = Instant::now();
    loop {
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => return api.get(&object.name_any()).await,
            // A namespace or an account of a moment ago, which admission does not know yet.
            Err(kube::Error::Api(status)) if is_early(&status) && begin.elapsed() < GENEROUS => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) if is_away(&error) && begin.elapsed() < AWAY => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return answer,
        }
    }
}

fn is_away(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        error => !matches!(error, kube::Error::SerdeError(_)),
    }
}

fn is_early(status: &kube::core::Status) -> bool {
    let message = &status.message;
    message.contains("service account") || (status.code == 404 && message.contains("\"default\""))
}
