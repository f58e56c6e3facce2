//! One wire has one set of VLAN numbers: classes that use one interface of one node must be on one fabric.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{Class, Labels};

/// When an object was created, as an order: the second, then the UID, which no two share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seniority {
    /// `metadata.creationTimestamp`, Unix seconds.
    pub created: i64,
    /// `metadata.uid`.
    pub uid: String,
}

/// A class that gives another name to a wire that has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "NetworkClass {class:?} uses interface {interface} of {node} as fabric {fabric:?}, which is fabric {other_fabric:?} of \
     NetworkClass {other:?} already: set spec.fabric: {other_fabric} in {class:?}, or use another interface"
)]
pub struct FabricConflict {
    /// The later class, which is not served.
    pub class: String,
    /// Its fabric.
    pub fabric: String,
    /// The earlier one.
    pub other: String,
    /// The wire's name.
    pub other_fabric: String,
    /// What both use.
    pub interface: String,
    /// Where; `every node` where no node is known.
    pub node: String,
}

/// The classes that are not served because an earlier one has given their wire another name, by their names.
///
/// `nodes` are those that are known, with their labels; without any, nothing is filtered by label.
pub fn fabric_conflicts<'a>(
    classes: impl IntoIterator<Item = (&'a Class, &'a Seniority)>,
    nodes: impl Fn() -> Vec<(String, Labels)>,
) -> BTreeMap<String, FabricConflict> {
    let mut classes: Vec<_> = classes.into_iter().collect();
    classes.sort_by_key(|(_, seniority)| *seniority);
    let candidates = sharing_interfaces(&classes);
    if candidates.is_empty() {
        return BTreeMap::new();
    }
    let nodes: Vec<(String, Option<Labels>)> = match nodes() {
        nodes if nodes.is_empty() => vec![("every node".to_owned(), None)],
        nodes => nodes.into_iter().map(|(name, labels)| (format!("node {name}"), Some(labels))).collect(),
    };
    let mut conflicts = BTreeMap::new();
    for (node, labels) in &nodes {
        let mut named: HashMap<&str, &Class> = HashMap::new();
        for class in &candidates {
            if conflicts.contains_key(&class.name) {
                continue;
            }
            let uplink = class.uplinks.iter().find(|uplink| uplink.serves(labels.as_ref()));
            let Some(interface) = uplink.map(|uplink| uplink.interface.as_str()) else { continue };
            let first = *named.entry(interface).or_insert(class);
            if first.fabric != class.fabric {
                let conflict = FabricConflict {
                    class: class.name.clone(),
                    fabric: class.fabric.clone(),
                    other: first.name.clone(),
                    other_fabric: first.fabric.clone(),
                    interface: interface.to_owned(),
                    node: node.clone(),
                };
                conflicts.insert(class.name.clone(), conflict);
            }
        }
    }
    conflicts
}

/// Only classes that name one interface and two fabrics can conflict; mostly there are none, and no node need be looked at.
fn sharing_interfaces<'a>(classes: &[(&'a Class, &Seniority)]) -> Vec<&'a Class> {
    let mut fabrics: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (class, _) in classes {
        for uplink in &class.uplinks {
            fabrics.entry(&uplink.interface).or_default().insert(&class.fabric);
        }
    }
    let shares = |class: &Class| {
        let mut interfaces = class.uplinks.iter().map(|uplink| uplink.interface.as_str());
        interfaces.any(|interface| fabrics.get(interface).is_some_and(|fabrics| fabrics.len() > 1))
    };
    classes.iter().map(|(class, _)| *class).filter(|class| shares(class)).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::Uplink;
    use crate::fixture::{class, labels, selector};

    /// Interface and the rack that it is for, if any.
    fn on(name: &str, fabric: &str, uplinks: &[(&str, Option<&str>)]) -> Class {
        let mut class = class("macvlan", json!({}));
        class.name = name.into();
        class.fabric = fabric.into();
        let uplinks = uplinks.iter().map(|(interface, rack)| Uplink {
            node_selector: rack.map(|rack| selector(&[("rack", rack)])),
            interface: (*interface).into(),
        });
        class.uplinks = uplinks.collect();
        class
    }

    #[rstest]
    #[case::two_wires(on("a", "a", &[("eth1", None)]), on("b", "b", &[("eth2", None)]), None)]
    #[case::one_wire(on("a", "a", &[("eth1", None)]), on("b", "b", &[("eth1", None)]), Some("node n1"))]
    #[case::by_one_name(on("a", "dc", &[("eth1", None)]), on("b", "dc", &[("eth1", None)]), None)]
    #[case::on_other_nodes(on("a", "a", &[("eth1", Some("x"))]), on("b", "b", &[("eth1", Some("y"))]), None)]
    #[case::on_one_node(
        on("a", "a", &[("eth1", Some("x")), ("eth2", None)]),
        on("b", "b", &[("eth3", Some("x")), ("eth2", None)]),
        Some("interface eth2 of node n2")
    )]
    fn one_wire_has_one_name(#[case] first: Class, #[case] second: Class, #[case] why: Option<&str>) {
        let nodes =
            || vec![("n1".to_owned(), labels(&[("rack", "x")])), ("n2".to_owned(), labels(&[("rack", "y")]))];
        let seniority = |created| Seniority { created, uid: String::new() };
        let (older, younger) = (seniority(1), seniority(2));
        let conflicts = fabric_conflicts([(&second, &younger), (&first, &older)], nodes);
        assert_eq!(conflicts.keys().collect::<Vec<_>>(), if why.is_some() { vec!["b"] } else { vec![] });
        for conflict in conflicts.values() {
            let message = conflict.to_string();
            assert!(message.contains(why.unwrap()) && message.contains("set spec.fabric: a"), "{message}");
        }
    }

    #[test]
    fn without_nodes_the_first_uplinks_count() {
        let (a, b) = (on("a", "a", &[("eth1", Some("x"))]), on("b", "b", &[("eth1", Some("y"))]));
        let seniority = Seniority { created: 1, uid: String::new() };
        let conflicts = fabric_conflicts([(&a, &seniority), (&b, &seniority)], Vec::new);
        assert!(conflicts["b"].to_string().contains("of every node"), "{conflicts:?}");
    }
}
