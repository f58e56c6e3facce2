//! The definitions of Knap's kinds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use knap_api::{Network, NetworkClass, NetworkLease, Reservation};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, CustomResourceExt, ResourceExt};

use crate::GENEROUS;

pub(super) async fn install(client: &Client) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let definitions = [Network::crd(), NetworkClass::crd(), NetworkLease::crd(), Reservation::crd()];
    for definition in &definitions {
        let name = definition.name_any();
        let applied = api.patch(&name, &PatchParams::apply("knap-tests"), &Patch::Apply(definition)).await;
        applied.unwrap_or_else(|error| panic!("definition {name}: {error}"));
    }
    for definition in &definitions {
        let name = definition.name_any();
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        let established = tokio::time::timeout(GENEROUS, established).await;
        established.expect("a definition established in time").expect("a definition to wait for");
    }
}
