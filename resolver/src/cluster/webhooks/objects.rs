//! What the API server has to ask about, and whom. Pure.
//!
//! Knap being down must not keep anybody from what has nothing to do with Knap. Where the API server knows match conditions
//! (Kubernetes 1.30 and later), it asks about nothing else, and refuses what it can't ask about. Older ones would ask about every pod:
//! there, what can't be asked about passes, and the resolver finds it afterwards.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use knap_api::{GROUP, NetworkAttachmentDefinition, VERSION};
use serde::Serialize;

/// Name of both objects. Webhooks are called in the order of their objects' names: this one comes after
/// `network-resources-injector…`, so that the devices that one asks for are there already, and are not asked for twice.
pub(super) const NAME: &str = "networks.knap.github.com";
/// Label of the objects that the resolver keeps certificates in.
pub(super) const LABEL: &str = "knap.github.com/webhooks";
/// Label of Knap's own pods, with the value `knap`: nothing is asked about them, so that they can always start.
const PART_OF: &str = "app.kubernetes.io/part-of";

/// Seconds for an answer about a pod, and about all else.
const SOON: i32 = 1;
const PATIENT: i32 = 10;

/// Pods that ask Knap for Networks.
const ASKS: &str =
    "has(object.metadata.annotations) && 'knap.github.com/networks' in object.metadata.annotations";
/// Pods that ask Multus alone.
const ASKS_MULTUS: &str = "has(object.metadata.annotations) && 'k8s.v1.cni.cncf.io/networks' in object.metadata.annotations && \
     !('knap.github.com/networks' in object.metadata.annotations)";
/// What is not about to go, and so will never be served: the last finalizer can always be taken off.
const STAYS: &str = "!has(object.metadata.deletionTimestamp)";
/// What is new, or written differently.
const CHANGES: &str = "request.operation == 'CREATE' || has(object.spec) != has(oldObject.spec) || \
     (has(object.spec) && object.spec != oldObject.spec)";

/// Whether the API server knows match conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchConditions {
    /// Kubernetes 1.30 and later.
    Known,
    /// What can't be asked about has to pass.
    Unknown,
}

/// How the API server reaches the resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectsOf {
    /// By a Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
    /// By an address, `https://127.0.0.1:4180`.
    Url(String),
}

/// Both objects.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum WebhookObjects {
    /// What refuses.
    Validating(Box<ValidatingWebhookConfiguration>),
    /// What changes.
    Mutating(Box<MutatingWebhookConfiguration>),
}

impl WebhookObjects {
    /// For a resolver that is reached like this. `refuse_raw`: what can't be asked about is refused too, where it is a
    /// NetworkAttachmentDefinition.
    pub fn new(of: &ObjectsOf, conditions: MatchConditions, refuse_raw: bool) -> [Self; 2] {
        let known = conditions == MatchConditions::Known;
        let webhooks = Webhooks { of, known };
        let mut pods = vec![webhooks.pods()];
        // Elsewhere the first is asked about all of them.
        pods.extend(known.then(|| webhooks.launchers()));
        let mutating = MutatingWebhookConfiguration { metadata: metadata(), webhooks: Some(pods) };
        let validating = ValidatingWebhookConfiguration {
            metadata: metadata(),
            webhooks: Some(vec![webhooks.networks(), webhooks.classes(), webhooks.attachments(refuse_raw)]),
        };
        [Self::Validating(Box::new(validating)), Self::Mutating(Box::new(mutating))]
    }
}

struct Webhooks<'a> {
    of: &'a ObjectsOf,
    known: bool,
}

impl Webhooks<'_> {
    fn networks(&self) -> ValidatingWebhook {
        let conditions = self.conditions(&[("stays", STAYS), ("changes", CHANGES)]);
        self.validating("networks", rule(GROUP, VERSION, "networks", true), conditions, self.known)
    }

    fn classes(&self) -> ValidatingWebhook {
        let conditions = self.conditions(&[("stays", STAYS)]);
        self.validating(
            "networkclasses",
            rule(GROUP, VERSION, "networkclasses", true),
            conditions,
            self.known,
        )
    }

    fn attachments(&self, refuse: bool) -> ValidatingWebhook {
        let (group, version) = (NetworkAttachmentDefinition::GROUP, NetworkAttachmentDefinition::VERSION);
        let rule = rule(group, version, "network-attachment-definitions", true);
        // Multus attaches by one that is about to go as well, for as long as a finalizer of anybody's keeps it.
        let conditions = self.conditions(&[("changes", CHANGES)]);
        self.validating("attachments", rule, conditions, refuse)
    }

    fn pods(&self) -> MutatingWebhook {
        self.mutating("pods", self.conditions(&[("asks", ASKS)]), self.known)
    }

    fn launchers(&self) -> MutatingWebhook {
        self.mutating("launchers", self.conditions(&[("asks-multus", ASKS_MULTUS)]), false)
    }

    fn validating(
        &self,
        name: &str,
        rule: RuleWithOperations,
        match_conditions: Option<Vec<MatchCondition>>,
        fail: bool,
    ) -> ValidatingWebhook {
        ValidatingWebhook {
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self.client(name),
            failure_policy: Some(failure_policy(fail)),
            match_conditions,
            name: format!("{name}.{GROUP}"),
            rules: Some(vec![rule]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(PATIENT),
            ..ValidatingWebhook::default()
        }
    }

    fn mutating(
        &self,
        name: &str,
        match_conditions: Option<Vec<MatchCondition>>,
        fail: bool,
    ) -> MutatingWebhook {
        let others = LabelSelectorRequirement {
            key: PART_OF.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec!["knap".to_owned()]),
        };
        MutatingWebhook {
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self.client(name),
            failure_policy: Some(failure_policy(fail)),
            match_conditions,
            name: format!("{name}.{GROUP}"),
            object_selector: Some(LabelSelector {
                match_expressions: Some(vec![others]),
                ..LabelSelector::default()
            }),
            // Others may add what names more Networks, or what asks for devices.
            reinvocation_policy: Some("IfNeeded".to_owned()),
            rules: Some(vec![rule("", "v1", "pods", false)]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(SOON),
            ..MutatingWebhook::default()
        }
    }

    fn client(&self, name: &str) -> WebhookClientConfig {
        let path = format!("/admission/{name}");
        match self.of {
            ObjectsOf::Url(url) => {
                WebhookClientConfig { url: Some(format!("{url}{path}")), ..WebhookClientConfig::default() }
            }
            ObjectsOf::Service { namespace, name, port } => WebhookClientConfig {
                service: Some(ServiceReference {
                    name: name.clone(),
                    namespace: namespace.clone(),
                    path: Some(path),
                    port: Some(i32::from(*port)),
                }),
                ..WebhookClientConfig::default()
            },
        }
    }

    fn conditions(&self, conditions: &[(&str, &str)]) -> Option<Vec<MatchCondition>> {
        let conditions = conditions.iter().map(|(name, expression)| MatchCondition {
            name: (*name).to_owned(),
            expression: (*expression).to_owned(),
        });
        self.known.then(|| conditions.collect())
    }
}

fn metadata() -> ObjectMeta {
    let labels = [(LABEL, "true"), (PART_OF, "knap")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ObjectMeta { name: Some(NAME.to_owned()), labels: Some(labels.into()), ..ObjectMeta::default() }
}

fn rule(group: &str, version: &str, resource: &str, updates: bool) -> RuleWithOperations {
    let operations = if updates { &["CREATE", "UPDATE"][..] } else { &["CREATE"] };
    RuleWithOperations {
        api_groups: Some(vec![group.to_owned()]),
        api_versions: Some(vec![version.to_owned()]),
        operations: Some(operations.iter().map(|operation| (*operation).to_owned()).collect()),
        resources: Some(vec![resource.to_owned()]),
        scope: Some("*".to_owned()),
    }
}

fn failure_policy(fail: bool) -> String {
    if fail { "Fail" } else { "Ignore" }.to_owned()
}

#[cfg(test)]
mod tests {
    use cel::{Context, Program, Value};
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn holds(expression: &str, operation: &str, object: &serde_json::Value, old: &serde_json::Value) -> bool {
        let mut context = Context::default();
        context.add_variable("object", object).unwrap();
        context.add_variable("oldObject", old).unwrap();
        context.add_variable("request", json!({"operation": operation})).unwrap();
        match Program::compile(expression).unwrap().execute(&context) {
            Ok(Value::Bool(holds)) => holds,
            // The API server then goes by the failure policy.
            other => panic!("{expression}: {other:?} for {object}"),
        }
    }

    fn annotated(annotations: &serde_json::Value) -> serde_json::Value {
        json!({"metadata": {"name": "web-0", "annotations": annotations}})
    }

    #[rstest]
    #[case::nothing(json!({"metadata": {"name": "web-0"}}), false, false)]
    #[case::other(annotated(&json!({"a": "b"})), false, false)]
    #[case::none(annotated(&json!({})), false, false)]
    #[case::knap(annotated(&json!({"knap.github.com/networks": "blue"})), true, false)]
    #[case::empty(annotated(&json!({"knap.github.com/networks": ""})), true, false)]
    #[case::multus(annotated(&json!({"k8s.v1.cni.cncf.io/networks": "blue"})), false, true)]
    #[case::both(
        annotated(&json!({"knap.github.com/networks": "a", "k8s.v1.cni.cncf.io/networks": "b"})), true, false
    )]
    fn a_pod_is_asked_about_once_if_it_asks(
        #[case] pod: serde_json::Value,
        #[case] knap: bool,
        #[case] multus: bool,
    ) {
        assert_eq!(holds(ASKS, "CREATE", &pod, &json!(null)), knap);
        assert_eq!(holds(ASKS_MULTUS, "CREATE", &pod, &json!(null)), multus);
    }

    #[test]
    fn what_goes_and_what_stays_as_it_is_is_left_alone() {
        let network =
            |spec: &str, more: &serde_json::Value| json!({"metadata": more, "spec": {"class": spec}});
        let (old, new) = (network("a", &json!({"name": "blue"})), network("b", &json!({"name": "blue"})));
        assert!(holds(CHANGES, "CREATE", &new, &json!(null)) && holds(CHANGES, "UPDATE", &new, &old));
        let without = json!({"metadata": {"name": "blue", "finalizers": ["x/y"]}});
        assert!(holds(CHANGES, "UPDATE", &new, &without) && holds(CHANGES, "UPDATE", &without, &new));
        assert!(!holds(CHANGES, "UPDATE", &json!({"metadata": {"name": "blue"}}), &without));
        let labelled = network("a", &json!({"name": "blue", "labels": {"x": "y"}}));
        assert!(!holds(CHANGES, "UPDATE", &labelled, &old));
        assert!(holds(STAYS, "UPDATE", &new, &old));
        let going = network("b", &json!({"name": "blue", "deletionTimestamp": "2026-01-01T00:00:00Z"}));
        assert!(!holds(STAYS, "UPDATE", &going, &old));
    }

    #[test]
    fn a_definition_that_is_about_to_go_can_lose_its_finalizer_and_get_no_other_configuration() {
        let of = ObjectsOf::Url("https://x".to_owned());
        let [WebhookObjects::Validating(validating), _] =
            WebhookObjects::new(&of, MatchConditions::Known, true)
        else {
            panic!()
        };
        let webhooks = validating.webhooks.unwrap();
        let attachments = webhooks.iter().find(|webhook| webhook.name.starts_with("attachments")).unwrap();
        let is_asked = |new: &serde_json::Value, old: &serde_json::Value| {
            let conditions = attachments.match_conditions.as_ref().unwrap();
            conditions.iter().all(|condition| holds(&condition.expression, "UPDATE", new, old))
        };
        let going = |finalizers: &[&str], config: &str| {
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers},
                "spec": {"config": config}})
        };
        let old = going(&["x/y"], "{}");
        assert!(!is_asked(&going(&[], "{}"), &old));
        assert!(is_asked(&going(&["x/y"], r#"{"type": "macvlan"}"#), &old));
    }

    /// Whether what can't be asked about is refused, and by how many conditions, for each webhook.
    fn policies(conditions: MatchConditions, refuse_raw: bool) -> Vec<(String, bool, usize)> {
        let objects = WebhookObjects::new(&ObjectsOf::Url("https://x".to_owned()), conditions, refuse_raw);
        let told = objects.iter().flat_map(|objects| {
            let value = serde_json::to_value(objects).unwrap();
            value["webhooks"].as_array().unwrap().clone()
        });
        let told = told.map(|webhook| {
            let conditions = webhook["matchConditions"].as_array().map_or(0, Vec::len);
            (webhook["name"].as_str().unwrap().to_owned(), webhook["failurePolicy"] == "Fail", conditions)
        });
        told.collect()
    }

    #[test]
    fn nothing_is_refused_unasked_without_a_condition() {
        let names = |told: &[(String, bool, usize)]| told.iter().filter(|(_, fail, _)| *fail).count();
        let known = policies(MatchConditions::Known, false);
        assert!(known.iter().all(|(_, _, conditions)| *conditions > 0) && known.len() == 5, "{known:?}");
        assert_eq!(names(&known), 3, "networks, classes, and pods that ask: {known:?}");
        assert_eq!(names(&policies(MatchConditions::Known, true)), 4);
        let unknown = policies(MatchConditions::Unknown, false);
        assert_eq!((names(&unknown), unknown.len()), (0, 4), "{unknown:?}");
    }
}
