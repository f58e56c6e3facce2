//! The definitions of Knap's kinds.

use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::GENEROUS;

/// Knap's.
pub(super) async fn install(client: &Client) {
    install_all(client, &knap_api::definitions()).await;
}

/// That of Multus, as Multus ships it.
pub(super) async fn install_multus(client: &Client) {
    let definition = json!({
        "metadata": { "name": "network-attachment-definitions.k8s.cni.cncf.io" },
        "spec": {
            "group": "k8s.cni.cncf.io",
            "scope": "Namespaced",
            "names": {
                "plural": "network-attachment-definitions", "singular": "network-attachment-definition",
                "kind": "NetworkAttachmentDefinition", "shortNames": ["net-attach-def"],
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "apiVersion": { "type": "string" }, "kind": { "type": "string" },
                        "metadata": { "type": "object" },
                        "spec": { "type": "object", "properties": { "config": { "type": "string" } } },
                    },
                } },
            }],
        },
    });
    install_all(client, &[serde_json::from_value(definition).expect("Multus' definition")]).await;
}

async fn install_all(client: &Client, definitions: &[CustomResourceDefinition]) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in definitions {
        let name = definition.name_any();
        let applied = api.patch(&name, &PatchParams::apply("knap-tests"), &Patch::Apply(definition)).await;
        applied.unwrap_or_else(|error| panic!("definition {name}: {error}"));
    }
    for definition in definitions {
        let name = definition.name_any();
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        let established = tokio::time::timeout(GENEROUS, established).await;
        established.expect("a definition established in time").expect("a definition to wait for");
    }
    // A moment later, who asks which kinds there are is told of it too.
    let begin = Instant::now();
    for definition in definitions {
        while !is_listed(client, definition).await {
            assert!(begin.elapsed() < GENEROUS, "{} is not listed", definition.name_any());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn is_listed(client: &Client, definition: &CustomResourceDefinition) -> bool {
    let spec = &definition.spec;
    let Ok(groups) = client.list_api_groups().await else { return false };
    let version = format!("{}/{}", spec.group, spec.versions[0].name);
    let Ok(kinds) = client.list_api_group_resources(&version).await else { return false };
    groups.groups.iter().any(|group| group.name == spec.group)
        && kinds.resources.iter().any(|kind| kind.name == spec.names.plural)
}
