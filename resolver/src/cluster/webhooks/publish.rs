//! Puts the certificates that the API server has to trust into the webhook objects, and puts right what is changed there.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration,
};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::objects::{LABEL, NAME};
use crate::store::kubernetes::FIELD_MANAGER;

/// Why an object can't be kept.
#[derive(Debug, thiserror::Error)]
#[error("can't keep the certificates in {kind} {NAME}: {source}")]
pub(crate) struct PublishError {
    kind: String,
    source: kube::Error,
}

/// Keeps the webhook objects, where there are any.
#[derive(Clone)]
pub(crate) struct Publisher {
    client: Client,
}

impl Publisher {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Has the API server trust these certificates, in PEM. False: not all of the objects are there.
    pub(crate) async fn publish(&self, bundle: &str) -> Result<bool, PublishError> {
        let validating = self.keep::<ValidatingWebhookConfiguration>(bundle).await;
        let mutating = self.keep::<MutatingWebhookConfiguration>(bundle).await;
        Ok(validating? && mutating?)
    }

    async fn keep<K>(&self, bundle: &str) -> Result<bool, PublishError>
    where
        K: Configuration,
    {
        let failed = |source| PublishError { kind: K::kind(&()).into_owned(), source };
        let api = Api::<K>::all(self.client.clone());
        let Some(found) = api.get_opt(NAME).await.map_err(failed)? else { return Ok(false) };
        if found.labels().get(LABEL).is_none_or(|value| value != "true") {
            return Ok(true);
        }
        let changes: Vec<Value> =
            found.webhooks().into_iter().filter_map(|webhook| webhook.change(bundle)).collect();
        if changes.is_empty() {
            return Ok(true);
        }
        // Webhooks are merged by their names; whatever else is in the object stays. Another object of the name is left alone.
        let patch = json!({ "metadata": { "uid": found.uid() }, "webhooks": changes });
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(NAME, &parameters, &Patch::Strategic(patch)).await.map_err(failed)?;
        tracing::info!(kind = %K::kind(&()), webhooks = changes.len(), "put right what the API server asks by");
        Ok(true)
    }
}

/// What both kinds have in common.
trait Configuration:
    Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
    + Clone
    + DeserializeOwned
    + std::fmt::Debug
{
    fn webhooks(&self) -> Vec<Webhook<'_>>;
}

/// What is looked at of a webhook.
struct Webhook<'a> {
    name: &'a str,
    bundle: Option<&'a ByteString>,
    rules: &'a [RuleWithOperations],
    fails: bool,
    conditional: bool,
}

impl Webhook<'_> {
    /// What has to be otherwise.
    fn change(&self, bundle: &str) -> Option<Value> {
        if !self.name.ends_with(".knap.github.com") {
            return None;
        }
        let trusted = self.bundle.is_some_and(|held| held.0 == bundle.as_bytes());
        let mut change = json!({ "name": self.name });
        let fields = change.as_object_mut()?;
        if !trusted {
            let bundle = ByteString(bundle.as_bytes().to_vec());
            fields.insert("clientConfig".to_owned(), json!({ "caBundle": bundle }));
        }
        if self.fails && !self.conditional && self.is_about_pods() {
            tracing::warn!(
                webhook = self.name,
                "the API server knows no match conditions, and would let no pod in while Knap is down: failurePolicy is set \
                 to Ignore (apply what knap-resolver webhooks --without-match-conditions prints)"
            );
            fields.insert("failurePolicy".to_owned(), json!("Ignore"));
        }
        (fields.len() > 1).then_some(change)
    }

    fn is_about_pods(&self) -> bool {
        let mut resources = self.rules.iter().flat_map(|rule| rule.resources.iter().flatten());
        resources.any(|resource| matches!(&**resource, "pods" | "*" | "*/*"))
    }
}

macro_rules! configuration {
    ($kind:ty) => {
        impl Configuration for $kind {
            fn webhooks(&self) -> Vec<Webhook<'_>> {
                let webhooks = self.webhooks.iter().flatten().map(|webhook| Webhook {
                    name: &webhook.name,
                    bundle: webhook.client_config.ca_bundle.as_ref(),
                    rules: webhook.rules.as_deref().unwrap_or_default(),
                    fails: webhook.failure_policy.as_deref() != Some("Ignore"),
                    conditional: webhook.match_conditions.iter().flatten().next().is_some(),
                });
                webhooks.collect()
            }
        }
    };
}

configuration!(ValidatingWebhookConfiguration);
configuration!(MutatingWebhookConfiguration);

#[cfg(test)]
mod tests {
    use super::super::{MatchConditions, ObjectsOf, WebhookObjects};
    use super::*;

    fn pods(conditions: MatchConditions) -> MutatingWebhookConfiguration {
        let objects = WebhookObjects::new(&ObjectsOf::Url("https://x".to_owned()), conditions, false);
        let [_, WebhookObjects::Mutating(mutating)] = objects else { panic!() };
        *mutating
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        let mut mutating = pods(MatchConditions::Known);
        let changes: Vec<Value> =
            mutating.webhooks().iter().filter_map(|webhook| webhook.change("PEM")).collect();
        assert_eq!(changes[0], json!({"name": "pods.knap.github.com", "clientConfig": {"caBundle": "UEVN"}}));
        for webhook in mutating.webhooks.iter_mut().flatten() {
            webhook.client_config.ca_bundle = Some(ByteString(b"PEM".to_vec()));
        }
        assert!(mutating.webhooks().iter().all(|webhook| webhook.change("PEM").is_none()));
        mutating.webhooks.as_mut().unwrap()[0].name = "pods.example.com".to_owned();
        assert!(mutating.webhooks()[0].change("other").is_none(), "somebody else's");
    }

    #[test]
    fn pods_pass_where_conditions_were_dropped() {
        let mut mutating = pods(MatchConditions::Known);
        for webhook in mutating.webhooks.iter_mut().flatten() {
            webhook.match_conditions = None;
            webhook.client_config.ca_bundle = Some(ByteString(b"PEM".to_vec()));
        }
        let changes: Vec<Value> =
            mutating.webhooks().iter().filter_map(|webhook| webhook.change("PEM")).collect();
        assert_eq!(changes, [json!({"name": "pods.knap.github.com", "failurePolicy": "Ignore"})]);
    }
}
