//! Knap's kinds may be missing when the resolver starts: then it says so where people look, and goes on when they come.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use crate::http::Readiness;
use crate::view::View;

/// Between looks.
const LOOK: Duration = Duration::from_secs(1);
/// For one look.
const ANSWER: Duration = Duration::from_secs(10);

/// Why the view is not complete.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(
        "the API server does not serve {}: apply Knap's CRDs (knap-resolver crds | kubectl apply -f -); this \
         goes on by itself then", list(.0)
    )]
    NotDefined(BTreeSet<String>),
    #[error("the API server does not answer: {0}")]
    Silent(String),
    #[error("the API server does not let the resolver look at its kinds: {0}")]
    Refused(kube::Error),
}

/// Tells what the view waits for, as long as it waits. Does not end, since a part of the service never does.
pub(crate) async fn explain(client: Client, view: Arc<View>, readiness: Arc<Readiness>) {
    let mut said = None;
    while !view.is_current() {
        let trouble = look(&client).await.err().map(|trouble| trouble.to_string());
        if trouble != said {
            if let Some(trouble) = &trouble {
                tracing::error!(%trouble, "not ready");
            }
            readiness.troubled(trouble.clone());
            said = trouble;
        }
        let _ = tokio::time::timeout(LOOK, view.current()).await;
    }
    readiness.troubled(None);
    tracing::info!("all kinds are known; ready");
    std::future::pending::<()>().await;
}

async fn look(client: &Client) -> Result<(), Trouble> {
    let group = format!("{}/{}", knap_api::GROUP, knap_api::VERSION);
    let asked = tokio::time::timeout(ANSWER, client.list_api_group_resources(&group)).await;
    let served = match asked.map_err(|_| Trouble::Silent("no word within 10 s".to_owned()))? {
        Ok(served) => served.resources.into_iter().map(|resource| resource.name).collect(),
        Err(kube::Error::Api(status)) if status.code == 404 => BTreeSet::new(),
        Err(error @ kube::Error::Api(_)) => return Err(Trouble::Refused(error)),
        Err(error) => return Err(Trouble::Silent(error.to_string())),
    };
    let wanted = knap_api::definitions().into_iter().map(|definition| definition.spec.names.plural);
    let missing: BTreeSet<String> = wanted.filter(|kind| !served.contains(kind)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Trouble::NotDefined(missing)) }
}

fn list(kinds: &BTreeSet<String>) -> String {
    let named: Vec<String> = kinds.iter().map(|kind| format!("{kind}.{}", knap_api::GROUP)).collect();
    named.join(", ")
}
