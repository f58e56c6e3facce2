//! Requests to the API server, each answered in bounded time.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use kube::core::{ObjectList, Request};
use tokio::sync::Semaphore;

use super::without_managed_fields;
use crate::store::{Kind, Labels};

/// For a call about one object: as long as a plugin waits for a whole attach.
const ONE: Duration = Duration::from_secs(10);
/// For a page of a list: the longest of all.
pub(super) const PAGE: Duration = Duration::from_secs(30);
/// Objects in a page: some hundred kilobytes of leases.
const PAGE_SIZE: u32 = 500;
/// Each has a connection of its own (HTTP/1.1). More of them make an API server slower, or answer 429.
const AT_ONCE: usize = 128;
/// How often a list begins anew after the API server forgot the snapshot that its pages come from.
const RESTARTS: u32 = 2;

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the API server has not answered within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the API server does not serve {plural}.{group}/{version}: {}", remedy(group))]
    NotServed { plural: String, group: String, version: String },
    #[error("the API server's resourceVersion {0:?} is no number")]
    NoNumber(String),
    #[error(transparent)]
    Client(#[from] kube::Error),
}

impl CallError {
    pub(super) fn not_served<K: Kind>() -> Self {
        Self::NotServed {
            plural: K::plural(&()).into_owned(),
            group: K::group(&()).into_owned(),
            version: K::version(&()).into_owned(),
        }
    }

    fn is_expired(&self) -> bool {
        matches!(self, Self::Client(kube::Error::Api(status)) if status.code == 410)
    }
}

/// Whose definitions are missing.
fn remedy(group: &str) -> &'static str {
    match group {
        knap_api::GROUP => "apply Knap's CRDs (knap-resolver crds | kubectl apply -f -)",
        knap_api::NetworkAttachmentDefinition::GROUP => "install Multus, or its CRD alone",
        _ => "it is too old, or an aggregated API server is away",
    }
}

/// The client for calls, of which so many at a time are under way that the API server is busy and no more.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) client: Client,
    permits: Arc<Semaphore>,
}

impl Calls {
    pub(super) fn new(client: Client) -> Self {
        Self { client, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The same client, with a queue of its own for so many at a time.
    pub(super) fn apart(&self, at_once: usize) -> Self {
        Self { client: self.client.clone(), permits: Arc::new(Semaphore::new(at_once)) }
    }

    /// The answer to one call of the client about one object.
    pub(super) async fn one<T>(&self, answer: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
        self.within(ONE, answer).await
    }

    /// Reads all objects that carry the labels, page by page, all of one moment.
    pub(super) async fn list<K: Kind>(&self, labels: &Labels) -> Result<Vec<K>, CallError> {
        let selector = selector(labels);
        let mut restarts = 0;
        loop {
            match self.pages(selector.clone()).await {
                Err(error) if error.is_expired() && restarts < RESTARTS => restarts += 1,
                listed => return listed,
            }
        }
    }

    /// The resourceVersion of a list that is read now: that of the whole store.
    pub(super) async fn position<K: Kind>(&self) -> Result<u64, CallError> {
        let parameters = ListParams { limit: Some(1), ..ListParams::default() };
        let request = Request::new(K::url_path(&(), None)).list(&parameters);
        let request = request.map_err(kube::Error::BuildRequest)?;
        let page = self.one(self.client.request::<ObjectList<K>>(request)).await?;
        let version = page.metadata.resource_version.unwrap_or_default();
        version.parse().map_err(|_| CallError::NoNumber(version))
    }

    async fn pages<K: Kind>(&self, label_selector: Option<String>) -> Result<Vec<K>, CallError> {
        let path = Request::new(K::url_path(&(), None));
        let mut parameters = ListParams { label_selector, limit: Some(PAGE_SIZE), ..ListParams::default() };
        let mut objects = Vec::new();
        loop {
            let request = path.list(&parameters).map_err(kube::Error::BuildRequest)?;
            let page = self.within(PAGE, self.client.request::<ObjectList<K>>(request)).await?;
            objects.extend(page.items.into_iter().map(without_managed_fields));
            parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if parameters.continue_token.is_none() {
                return Ok(objects);
            }
        }
    }

    /// The wait for a turn counts: behind an API server that hangs, the queue must end in time too.
    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        let turn = async {
            // Nobody closes it; and without it, nothing worse than a busy server would come.
            let _permit = self.permits.acquire().await;
            answer.await
        };
        match tokio::time::timeout(limit, turn).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(CallError::TimedOut(limit)),
        }
    }
}

fn selector(labels: &Labels) -> Option<String> {
    let terms: Vec<String> = labels
        .iter()
        .map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
        .collect();
    (!terms.is_empty()).then(|| terms.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_a_selector() {
        let labels = [("a/b".to_owned(), Some("c".to_owned())), ("d".to_owned(), None)];
        assert_eq!(selector(&labels.into()), Some("a/b=c,d".to_owned()));
        assert_eq!(selector(&Labels::new()), None);
    }
}
