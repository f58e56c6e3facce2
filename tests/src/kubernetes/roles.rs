//! The rights that the chart gives the resolver: those, and no others, are what resolvers of tests have.

use std::fs;

use serde_json::{Value, json};

use super::trust::NAMESPACE;
use super::{KubernetesApi, Objects};
use crate::nodes::manifests::{parse, repository};

/// The user that resolvers run as; also its token.
pub const RESOLVER: &str = "resolver";
/// The chart's account of that user.
const ACCOUNT: &str = "knap-resolver";

/// How the API server names a service account.
pub(super) fn account() -> String {
    format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}")
}

/// The user's line in a file of tokens: it is whom the chart's bindings name.
pub(super) fn token_line() -> String {
    let groups = format!("system:serviceaccounts,system:serviceaccounts:{NAMESPACE}");
    format!("{RESOLVER},{},{RESOLVER},\"{groups}\"\n", account())
}

/// The roles and bindings of deploy/knap.yaml that concern the resolver's account, for the namespace of tests.
fn roles() -> Vec<Value> {
    let text = fs::read_to_string(repository("deploy/knap.yaml")).expect("deploy/knap.yaml");
    let objects = parse(&text);
    let mut bindings: Vec<Value> = objects.iter().filter(|object| names_account(object)).cloned().collect();
    let mut roles: Vec<Value> = objects
        .into_iter()
        .filter(|object| {
            let named = |binding: &Value| {
                binding["roleRef"]["kind"] == object["kind"]
                    && binding["roleRef"]["name"] == object["metadata"]["name"]
            };
            bindings.iter().any(named)
        })
        .collect();
    assert!(!roles.is_empty() && roles.len() == bindings.len(), "{bindings:#?}");
    for binding in &mut bindings {
        binding["subjects"][0]["namespace"] = json!(NAMESPACE);
    }
    roles.append(&mut bindings);
    for object in &mut roles {
        if !object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!(NAMESPACE);
        }
    }
    roles
}

fn names_account(object: &Value) -> bool {
    object["subjects"].as_array().is_some_and(|subjects| match subjects.as_slice() {
        [only] => only["kind"] == "ServiceAccount" && only["name"] == ACCOUNT,
        _ => false,
    })
}

impl KubernetesApi {
    /// Gives [`RESOLVER`] what the chart gives the resolver, and waits until that holds.
    pub(super) async fn give_roles(&self) {
        let objects = self.objects().await;
        for role in roles() {
            let kind = role["kind"].as_str().expect("a kind").to_lowercase();
            let namespace = role["metadata"]["namespace"].as_str();
            let namespace =
                namespace.map_or_else(String::new, |namespace| format!("namespaces/{namespace}/"));
            let path = format!("/apis/rbac.authorization.k8s.io/v1/{namespace}{kind}s");
            let made = objects.send("POST", &path, &role).await;
            assert_eq!(made.status, 201, "{made:?}");
        }
        // One right of each role, without which nothing at all goes.
        for (group, resource) in [("knap.github.com", "reservations"), ("coordination.k8s.io", "leases")] {
            let what = format!("resolvers may create {resource}");
            let may = async || objects.may_create(group, resource).await.then_some(());
            objects.eventually(&what, may).await;
        }
    }
}

impl Objects {
    async fn may_create(&self, group: &str, resource: &str) -> bool {
        let attributes =
            json!({ "verb": "create", "group": group, "resource": resource, "namespace": NAMESPACE });
        let review = json!({ "spec": { "user": account(), "resourceAttributes": attributes } });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        self.send("POST", path, &review).await.body["status"]["allowed"] == true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolver_has_a_role_in_its_namespace_and_one_in_the_cluster() {
        let roles = roles();
        let kinds: Vec<_> = roles.iter().filter_map(|role| role["kind"].as_str()).collect();
        assert_eq!(kinds, ["ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"]);
        assert!(!serde_json::to_string(&roles).expect("JSON").contains("knap-system"), "{roles:#?}");
    }
}
