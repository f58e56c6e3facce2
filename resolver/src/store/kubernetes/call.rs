//! Requests to the API server, each answered in bounded time.

use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use kube::core::{ObjectList, Request};

use super::without_managed_fields;
use crate::store::{Kind, Labels};

/// For a call about one object: as long as a plugin waits for a whole attach.
const ONE: Duration = Duration::from_secs(10);
/// For a page of a list.
const PAGE: Duration = Duration::from_secs(30);
/// Objects in a page: some hundred kilobytes of leases.
const PAGE_SIZE: u32 = 500;
/// How often a list begins anew after the API server forgot the snapshot that its pages come from.
const RESTARTS: u32 = 2;

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the API server has not answered within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error(
        "the API server does not serve {plural}.{group}/{version}: apply Knap's CRDs (knap-resolver crds | kubectl apply -f -)"
    )]
    NotServed { plural: String, group: String, version: String },
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

/// Waits for the answer to a call about one object.
pub(super) async fn call<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    within(ONE, answer).await
}

/// Reads all objects that carry the labels, page by page, all of one moment.
pub(super) async fn list<K: Kind>(client: &Client, labels: &Labels) -> Result<Vec<K>, CallError> {
    let selector = selector(labels);
    let mut restarts = 0;
    loop {
        match pages(client, selector.clone()).await {
            Err(error) if error.is_expired() && restarts < RESTARTS => restarts += 1,
            listed => return listed,
        }
    }
}

async fn pages<K: Kind>(client: &Client, label_selector: Option<String>) -> Result<Vec<K>, CallError> {
    let path = Request::new(K::url_path(&(), None));
    let mut parameters = ListParams { label_selector, limit: Some(PAGE_SIZE), ..ListParams::default() };
    let mut objects = Vec::new();
    loop {
        let request = path.list(&parameters).map_err(kube::Error::BuildRequest)?;
        let page = within(PAGE, client.request::<ObjectList<K>>(request)).await?;
        objects.extend(page.items.into_iter().map(without_managed_fields));
        parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if parameters.continue_token.is_none() {
            return Ok(objects);
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

async fn within<T>(limit: Duration, answer: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::TimedOut(limit)),
    }
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
