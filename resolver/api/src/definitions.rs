//! The CustomResourceDefinitions of all kinds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube::CustomResourceExt;

use crate::{Network, NetworkClass, NetworkLease, NodeInventory, Reservation};

/// A DNS label (RFC 1123).
const DNS_LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// One per kind.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        // Names of leases and NetworkAttachmentDefinitions are made of it.
        with_names(Network::crd(), DNS_LABEL, 63),
        // It becomes part of a label's key.
        with_names(NetworkClass::crd(), DNS_LABEL, 40),
        NetworkLease::crd(),
        Reservation::crd(),
        NodeInventory::crd(),
    ]
}

/// Restricts the names of a kind's objects: the one thing of the metadata that a schema may.
fn with_names(
    mut definition: CustomResourceDefinition,
    pattern: &str,
    length: i64,
) -> CustomResourceDefinition {
    let name = JSONSchemaProps {
        type_: Some("string".to_owned()),
        pattern: Some(pattern.to_owned()),
        max_length: Some(length),
        ..JSONSchemaProps::default()
    };
    let metadata = JSONSchemaProps {
        type_: Some("object".to_owned()),
        properties: Some([("name".to_owned(), name)].into()),
        ..JSONSchemaProps::default()
    };
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let properties = schema.and_then(|schema| schema.properties.as_mut());
        if let Some(properties) = properties {
            properties.insert("metadata".to_owned(), metadata.clone());
        }
    }
    definition
}
