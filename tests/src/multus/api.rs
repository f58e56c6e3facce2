//! The few calls of the Kubernetes API that Multus makes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use crate::kubernetes::trust;

/// The annotation that tells what a pod's networks gave it.
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// The API server of a kubeconfig with a bearer token.
pub(super) struct ApiServer {
    url: String,
    token: String,
    agent: Agent,
}

impl ApiServer {
    /// Reads a kubeconfig, in JSON, whose first cluster and first user count.
    pub(super) fn of(kubeconfig: &Path) -> anyhow::Result<Self> {
        let text = fs::read(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))?;
        let config: Value = serde_json::from_slice(&text).context("the kubeconfig, in JSON")?;
        let text = |pointer: &str| {
            config
                .pointer(pointer)
                .and_then(Value::as_str)
                .with_context(|| format!("{pointer} of the kubeconfig"))
        };
        let authority = fs::read_to_string(text("/clusters/0/cluster/certificate-authority")?)
            .context("the API server's CA")?;
        let agent = Agent::config_builder()
            .proxy(None)
            .tls_config(trust::these(&authority))
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build();
        Ok(Self {
            url: text("/clusters/0/cluster/server")?.to_owned(),
            token: text("/users/0/user/token")?.to_owned(),
            agent: agent.into(),
        })
    }

    /// A pod.
    pub(super) fn pod(&self, namespace: &str, name: &str) -> anyhow::Result<Value> {
        self.ask("GET", &format!("/api/v1/namespaces/{namespace}/pods/{name}"), None)
    }

    /// A NetworkAttachmentDefinition.
    pub(super) fn definition(&self, namespace: &str, name: &str) -> anyhow::Result<Value> {
        let kind = "network-attachment-definitions";
        self.ask("GET", &format!("/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/{kind}/{name}"), None)
    }

    /// Writes a pod's network-status.
    pub(super) fn write_status(&self, namespace: &str, name: &str, status: &[Value]) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(status)?;
        let patch = json!({ "metadata": { "annotations": { STATUS: text } } });
        self.ask("PATCH", &format!("/api/v1/namespaces/{namespace}/pods/{name}/status"), Some(&patch))
            .map(drop)
    }

    fn ask(&self, method: &str, path: &str, patch: Option<&Value>) -> anyhow::Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/merge-patch+json");
        let answer = match patch {
            Some(patch) => self.agent.run(request.body(patch.to_string())?),
            None => self.agent.run(request.body(())?),
        };
        let mut answer = answer.with_context(|| format!("{method} {path}"))?;
        let body = answer.body_mut().read_to_string()?;
        if !answer.status().is_success() {
            bail!("{method} {path}: {}: {body}", answer.status());
        }
        Ok(serde_json::from_str(&body)?)
    }
}
