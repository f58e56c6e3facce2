//! What a node's agent has and gets: a pod of its own, the token that is projected into it, and for that a node token.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use knap_protocol::{AUDIENCE, NodeCredentials};
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::json;

use super::trust::NAMESPACE;
use super::{Objects, Replica, Reply};

/// The service account that the resolvers of tests expect agents to run as.
pub const AGENT: &str = "knap-node";

/// Node tokens by kubeconfig and node: all replicas of one API take them.
static TOKENS: LazyLock<Mutex<HashMap<(PathBuf, String), String>>> = LazyLock::new(Mutex::default);

impl Objects {
    /// The pod of a node's agent, with its Node and its service account; made where they are not there.
    pub async fn agent(&self, node: &str) -> kube::Result<Pod> {
        self.node(node).await?;
        // Where there is a kubelet, it must need no network for it.
        let manifest = json!({ "spec": { "nodeName": node, "hostNetwork": true } });
        self.pod_with(NAMESPACE, AGENT, &format!("{AGENT}-{node}"), manifest).await
    }

    /// A token of a service account, as the kubelet gets it for a pod and has it projected into it.
    pub async fn projected_token(
        &self,
        account: &str,
        pod: Option<&Pod>,
        audience: Option<&str>,
    ) -> kube::Result<String> {
        let namespace = pod.and_then(ResourceExt::namespace).unwrap_or_else(|| NAMESPACE.to_owned());
        let bound_object_ref = pod.map(|pod| BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        });
        let audiences = audience.map(str::to_owned).into_iter().collect();
        let spec = TokenRequestSpec { audiences, bound_object_ref, expiration_seconds: Some(3600) };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts = self.in_namespace::<ServiceAccount>(&namespace);
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        Ok(answer.status.expect("the answer to a TokenRequest").token)
    }
}

impl Replica {
    /// What a resolver answers to a node's agent that shows this.
    pub async fn exchange(&self, node: &str, token: Option<String>) -> Option<Reply> {
        self.ask_as(token, "POST", &format!("/v1/nodes/{node}/credentials"), Some(json!({}))).await
    }

    /// The token of a node, got as its agent gets it and kept for all replicas. What the resolver answered instead, where it
    /// gave none; nothing where nobody answered.
    pub async fn node_token(&self, node: &str) -> Result<String, Option<Reply>> {
        let key = (self.kubeconfig(), node.to_owned());
        if let Some(token) = TOKENS.lock().expect("no panic under the lock").get(&key) {
            return Ok(token.clone());
        }
        let objects = self.objects().await;
        let agent = objects.agent(node).await.map_err(|_| None)?;
        let projected =
            objects.projected_token(AGENT, Some(&agent), Some(AUDIENCE)).await.map_err(|_| None)?;
        let reply = self.exchange(node, Some(projected)).await.ok_or(None)?;
        if reply.status != 200 {
            return Err(Some(reply));
        }
        let token = reply.json::<NodeCredentials>().token;
        TOKENS.lock().expect("no panic under the lock").insert(key, token.clone());
        Ok(token)
    }

    /// Has the next request of a node get another token, as its agent does when the one it has is no longer taken.
    pub fn forget_node_token(&self, node: &str) {
        TOKENS.lock().expect("no panic under the lock").remove(&(self.kubeconfig(), node.to_owned()));
    }
}
