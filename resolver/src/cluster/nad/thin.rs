//! What a Network's NetworkAttachmentDefinitions have to be: one in its own namespace, and one in every namespace that it is
//! shared with and that asked for it. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use knap_api::{
    MANAGED_BY, MANAGED_BY_LABEL, NETWORK_NAME_LABEL, NETWORK_NAMESPACE_LABEL, NETWORK_UID_LABEL, Network,
    NetworkAttachmentDefinition,
};
use knap_core::{NetworkRef, may_attach};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::provision::Subject;
use crate::store::ObjectName;
use crate::view::LabelMap;

/// The version that every Multus and every runtime of the last years understands.
const CNI_VERSION: &str = "1.0.0";
/// Between namespace and name of a Network, where its definition is in another namespace.
const SEPARATOR: &str = "--";

/// All definitions that a Network should have. `projecting` are the namespaces that take definitions of Networks which are
/// shared with them.
pub(super) fn definitions(
    subject: &Subject<'_>,
    projecting: &[(String, Arc<LabelMap>)],
) -> Vec<NetworkAttachmentDefinition> {
    let network = &subject.intent.owner;
    let others = projecting.iter().filter(|(namespace, labels)| {
        *namespace != network.namespace
            && may_attach(subject.intent, subject.class, namespace, Some(labels)).is_ok()
    });
    let others = others.map(|(namespace, _)| namespace.as_str());
    all(network, subject.resource_name, others)
}

/// Those that a Network should have for as long as nobody serves it: its own, and of what is `there` in other namespaces that
/// which they still take.
pub(super) fn kept(
    network: &NetworkRef,
    resource_name: Option<&str>,
    projecting: &[(String, Arc<LabelMap>)],
    there: &BTreeSet<String>,
) -> Vec<NetworkAttachmentDefinition> {
    let projected = projected_name(&network.namespace, &network.name);
    let others = projecting.iter().map(|(namespace, _)| namespace.as_str());
    let others = others.filter(|namespace| {
        *namespace != network.namespace
            && there.contains(&ObjectName::namespaced(*namespace, projected.as_str()).to_string())
    });
    all(network, resource_name, others)
}

fn all<'a>(
    network: &'a NetworkRef,
    resource_name: Option<&str>,
    others: impl Iterator<Item = &'a str>,
) -> Vec<NetworkAttachmentDefinition> {
    let namespaces = std::iter::once(network.namespace.as_str()).chain(others);
    namespaces.map(|namespace| definition(network, resource_name, namespace)).collect()
}

fn definition(
    network: &NetworkRef,
    resource_name: Option<&str>,
    namespace: &str,
) -> NetworkAttachmentDefinition {
    let own = namespace == network.namespace;
    let name = if own { network.name.clone() } else { projected_name(&network.namespace, &network.name) };
    let resource = resource_name.map(|resource| {
        (NetworkAttachmentDefinition::RESOURCE_NAME_ANNOTATION.to_owned(), resource.to_owned())
    });
    let labels = [
        (MANAGED_BY_LABEL, MANAGED_BY),
        (NETWORK_NAMESPACE_LABEL, network.namespace.as_str()),
        (NETWORK_NAME_LABEL, network.name.as_str()),
        (NETWORK_UID_LABEL, network.uid.as_str()),
    ];
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        annotations: resource.map(|annotation| [annotation].into()),
        // An owner is in the namespace of what it owns.
        owner_references: own.then(|| vec![owner_reference(network)]),
        ..ObjectMeta::default()
    };
    NetworkAttachmentDefinition::new(metadata, config(network))
}

/// What leads to a Network in other namespaces than its own.
pub(crate) fn projected_name(namespace: &str, name: &str) -> String {
    format!("{namespace}{SEPARATOR}{name}")
}

/// The thin configuration (design: the CNI plugin): all that differs per node and pod is asked for at ADD. It declares every
/// capability, since Multus passes on only what is declared.
fn config(network: &NetworkRef) -> String {
    json!({
        "cniVersion": CNI_VERSION,
        "name": format!("{}.{}", network.namespace, network.name),
        "type": "knap",
        "network": network.to_string(),
        "allowPersistentIPs": true,
        "capabilities": {
            "mac": true, "ips": true, "deviceID": true, "infinibandGUID": true, "bandwidth": true,
            "portMappings": true, "CNIDeviceInfoFile": true,
        },
    })
    .to_string()
}

fn owner_reference(network: &NetworkRef) -> OwnerReference {
    OwnerReference {
        api_version: Network::api_version(&()).into_owned(),
        kind: Network::kind(&()).into_owned(),
        name: network.name.clone(),
        uid: network.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Whether a definition is Knap's: by its label, or where somebody took that away, by its owner.
pub(super) fn is_knaps(definition: &NetworkAttachmentDefinition) -> bool {
    definition.labels().get(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGED_BY)
        || definition.owner_references().iter().any(is_network)
}

fn is_network(owner: &OwnerReference) -> bool {
    owner.kind == Network::kind(&()) && owner.api_version.split('/').next() == Some(knap_api::GROUP)
}

/// The Network that a definition of Knap's leads to.
pub(super) fn leads_to(definition: &NetworkAttachmentDefinition) -> Option<ObjectName> {
    if !is_knaps(definition) {
        return None;
    }
    let labels = definition.labels();
    match (labels.get(NETWORK_NAMESPACE_LABEL), labels.get(NETWORK_NAME_LABEL)) {
        (Some(namespace), Some(name)) => Some(ObjectName::namespaced(namespace, name)),
        _ => {
            let owner = definition.owner_references().iter().find(|owner| is_network(owner))?;
            Some(ObjectName::namespaced(definition.namespace()?, &owner.name))
        }
    }
}

/// All Networks that would have a definition of this name.
pub(crate) fn concerned(name: &ObjectName) -> Vec<ObjectName> {
    let splits = name.name.match_indices(SEPARATOR).filter_map(|(at, separator)| {
        let (namespace, network) = (name.name.get(..at)?, name.name.get(at + separator.len()..)?);
        (!namespace.is_empty() && !network.is_empty()).then(|| ObjectName::namespaced(namespace, network))
    });
    std::iter::once(name.clone()).chain(splits).collect()
}

/// Whether a definition that is there is not what it has to be. What others have put on it beside that is theirs.
pub(super) fn has_drifted(found: &NetworkAttachmentDefinition, wanted: &NetworkAttachmentDefinition) -> bool {
    let says = |found: &LabelMap, wanted: &LabelMap| {
        wanted.iter().all(|(key, value)| found.get(key).is_some_and(|found| found == value))
    };
    let owners = |definition: &NetworkAttachmentDefinition| -> Vec<String> {
        let owners = definition.owner_references().iter().filter(|owner| is_network(owner));
        owners.map(|owner| owner.uid.clone()).collect()
    };
    found.spec.config != wanted.spec.config
        || !says(found.labels(), wanted.labels())
        || !says(found.annotations(), wanted.annotations())
        || owners(found) != owners(wanted)
        || has_foreign_resource(found, wanted)
}

/// The device plugin's resource that a definition has pods ask for.
pub(super) fn resource_of(definition: &NetworkAttachmentDefinition) -> Option<&String> {
    definition.annotations().get(NetworkAttachmentDefinition::RESOURCE_NAME_ANNOTATION)
}

/// Whether somebody has made it ask for devices that the Network does not have.
pub(super) fn has_foreign_resource(
    found: &NetworkAttachmentDefinition,
    wanted: &NetworkAttachmentDefinition,
) -> bool {
    resource_of(found).is_some() && resource_of(wanted).is_none()
}

#[cfg(test)]
mod tests {
    use knap_core::{Class, LabelSelector, NetworkIntent};

    use super::*;

    fn intent() -> NetworkIntent {
        let network: Network = serde_json::from_value(json!({
            "apiVersion": "knap.github.com/v1alpha1", "kind": "Network",
            "metadata": {"namespace": "shop", "name": "blue", "uid": "u-1"}, "spec": {}
        }))
        .unwrap();
        crate::translate::network(&network).unwrap()
    }

    fn projecting(namespaces: &[&str]) -> Vec<(String, Arc<LabelMap>)> {
        namespaces.iter().map(|name| ((*name).to_owned(), Arc::default())).collect()
    }

    #[test]
    fn the_thin_configuration_is_that_of_the_design() {
        let (intent, class) = (intent(), Class::new("vf", "sriov"));
        let subject = Subject { intent: &intent, class: &class, resource_name: Some("vendor.com/pool") };
        let all = definitions(&subject, &projecting(&["shop", "web"]));
        let [own] = all.as_slice() else { panic!("it is not shared: {all:?}") };
        let config: serde_json::Value = serde_json::from_str(own.spec.config.as_ref().unwrap()).unwrap();
        assert_eq!(
            (config["name"].as_str(), config["network"].as_str()),
            (Some("shop.blue"), Some("shop/blue"))
        );
        assert_eq!(own.annotations()["k8s.v1.cni.cncf.io/resourceName"], "vendor.com/pool");
        assert_eq!(own.owner_references()[0].uid, "u-1");
        assert!(is_knaps(own) && !has_drifted(own, own));
        assert_eq!(leads_to(own), Some(ObjectName::namespaced("shop", "blue")));
    }

    #[test]
    fn a_shared_network_is_projected_where_both_sides_want_it() {
        let intent = NetworkIntent { shared_with: Some(LabelSelector::default()), ..intent() };
        let open = Class { allow_sharing: true, ..Class::new("open", "bridge") };
        let closed = Class::new("closed", "bridge");
        let names = |class: &Class, namespaces: &[&str]| -> Vec<String> {
            let subject = Subject { intent: &intent, class, resource_name: None };
            let all = definitions(&subject, &projecting(namespaces));
            all.iter().map(|found| ObjectName::of(found).to_string()).collect()
        };
        assert_eq!(names(&open, &["web", "shop"]), ["shop/blue", "web/shop--blue"]);
        assert_eq!(names(&closed, &["web"]), ["shop/blue"]);
        assert_eq!(names(&open, &[]), ["shop/blue"]);
    }

    #[test]
    fn what_was_published_is_kept_where_it_is_still_wanted() {
        let network = intent().owner;
        let there = BTreeSet::from(["web/shop--blue", "gone/shop--blue", "lab/other"].map(str::to_owned));
        let all = kept(&network, Some("vendor.com/pool"), &projecting(&["lab", "shop", "web"]), &there);
        let names: Vec<String> = all.iter().map(|found| ObjectName::of(found).to_string()).collect();
        assert_eq!(names, ["shop/blue", "web/shop--blue"]);
        assert!(all.iter().all(|found| resource_of(found).is_some_and(|asked| asked == "vendor.com/pool")));
        assert_eq!(kept(&network, None, &[], &BTreeSet::new()).len(), 1, "its own in any case");
    }

    #[test]
    fn a_name_may_be_that_of_several_networks() {
        let concerned = concerned(&ObjectName::namespaced("web", "a--b--c"));
        let names: Vec<String> = concerned.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["web/a--b--c", "a/b--c", "a--b/c"]);
    }

    #[test]
    fn drift_is_what_knap_wants_otherwise() {
        let (intent, class) = (intent(), Class::new("a", "bridge"));
        let subject = Subject { intent: &intent, class: &class, resource_name: None };
        let wanted = definitions(&subject, &[]).remove(0);
        let changed = |change: &dyn Fn(&mut NetworkAttachmentDefinition)| {
            let mut found = wanted.clone();
            change(&mut found);
            has_drifted(&found, &wanted)
        };
        assert!(!changed(&|found| drop(found.annotations_mut().insert("mine".into(), "1".into()))));
        assert!(changed(&|found| found.spec.config = None));
        assert!(changed(&|found| drop(found.labels_mut().remove(MANAGED_BY_LABEL))));
        assert!(changed(&|found| found.owner_references_mut().clear()));
        let annotation = NetworkAttachmentDefinition::RESOURCE_NAME_ANNOTATION;
        assert!(changed(&|found| drop(found.annotations_mut().insert(annotation.into(), "a/b".into()))));
    }
}
