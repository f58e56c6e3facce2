//! NetworkAttachmentDefinition: what Multus attaches pods by. Not a kind of Knap's, so there is no CRD of it here, and what
//! others have written need not be complete.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

/// A CNI configuration by a name (Kubernetes Network Custom Resource Definition De-facto Standard, version 1.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkAttachmentDefinition {
    #[serde(default = "api_version")]
    pub api_version: String,
    #[serde(default = "kind")]
    pub kind: String,
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: NetworkAttachmentDefinitionSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachmentDefinitionSpec {
    /// JSON; where it is empty, Multus looks for a file of the definition's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

impl NetworkAttachmentDefinition {
    pub const GROUP: &str = "k8s.cni.cncf.io";
    pub const VERSION: &str = "v1";
    /// Annotation: the device plugin's resource of which a pod gets one device per attachment.
    pub const RESOURCE_NAME_ANNOTATION: &str = "k8s.v1.cni.cncf.io/resourceName";

    /// With this configuration.
    pub fn new(metadata: ObjectMeta, config: String) -> Self {
        let spec = NetworkAttachmentDefinitionSpec { config: Some(config) };
        Self { api_version: api_version(), kind: kind(), metadata, spec }
    }
}

fn api_version() -> String {
    NetworkAttachmentDefinition::api_version(&()).into_owned()
}

fn kind() -> String {
    NetworkAttachmentDefinition::kind(&()).into_owned()
}

impl Resource for NetworkAttachmentDefinition {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "NetworkAttachmentDefinition".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        Self::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        Self::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "network-attachment-definitions".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
