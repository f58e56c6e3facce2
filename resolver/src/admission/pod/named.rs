//! What Multus is told about a pod and a Network. Pure.

use std::collections::BTreeMap;

use knap_protocol::NetworkName;

use super::MULTUS_ANNOTATION;
use super::selection::{Names, Selection, Selections};
use crate::cluster::nad::projected_name;

/// How many interfaces on a Network a pod with these annotations is given.
pub(crate) fn interfaces_on(
    annotations: &BTreeMap<String, String>,
    namespace: &str,
    network: &NetworkName,
) -> usize {
    let told = annotations.get(MULTUS_ANNOTATION).map_or("", String::as_str);
    let told = Selections::read(told, Names::Definitions).unwrap_or_default().all;
    told.iter().filter(|told| leads(told, network.namespace(), network.name(), namespace)).count()
}

/// Whether what Multus is told leads to a Network, in its own namespace or projected into the pod's.
pub(super) fn leads(told: &Selection, namespace: &str, name: &str, pod_namespace: &str) -> bool {
    let found = (told.namespace.as_deref().unwrap_or(pod_namespace), told.name.as_str());
    found == (namespace, name) || (found.0 == pod_namespace && found.1 == projected_name(namespace, name))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", 0)]
    #[case("blue", 0)]
    #[case("shop/blue", 1)]
    #[case("shop--blue@a,red,shop/blue@b", 2)]
    #[case("other/shop--blue", 0)]
    #[case(r#"[{"name": "blue", "namespace": "shop"}, {"name": "blue"}]"#, 1)]
    #[case(r#"[{"name": "blue", "namespace": "shop"}, {"name": "macvlan.100"}]"#, 1)]
    #[case("no, list!", 0)]
    fn a_pod_is_given_what_leads_there(#[case] told: &str, #[case] interfaces: usize) {
        let annotations = BTreeMap::from([(MULTUS_ANNOTATION.to_owned(), told.to_owned())]);
        assert_eq!(interfaces_on(&annotations, "bank", &"shop/blue".parse().unwrap()), interfaces);
    }
}
