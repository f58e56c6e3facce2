//! Classes that use one interface of one node: the wire behind it has one set of VLAN numbers, so they must be on one
//! fabric; and the kernel lets the interface be the port of a bridge or the parent of other interfaces, not both.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::provider::BRIDGE;
use crate::{Class, Labels};

/// When an object was created, as an order: the second, then the UID, which no two share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seniority {
    /// `metadata.creationTimestamp`, Unix seconds.
    pub created: i64,
    /// `metadata.uid`.
    pub uid: String,
}

/// A class that can't use an interface of a node beside an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FabricConflict {
    /// It gives another name to a wire that has one.
    #[error(
        "NetworkClass {class:?} uses interface {interface} of {node} as fabric {fabric:?}, which is fabric \
         {other_fabric:?} of NetworkClass {other:?} already: set spec.fabric: {other_fabric} in {class:?}, or use \
         another interface"
    )]
    Name {
        /// The later class, which is not served.
        class: String,
        /// Its fabric.
        fabric: String,
        /// The earlier one.
        other: String,
        /// The wire's name.
        other_fabric: String,
        /// What both use.
        interface: String,
        /// Where; `every node` where no node is known.
        node: String,
    },
    /// One makes the interface the port of a bridge, and the other builds on it.
    #[error(
        "NetworkClass {class:?} uses interface {interface} of {node} by provider {provider}, which NetworkClass \
         {other:?} uses by provider {other_provider} already, and a bridge's port is nobody else's: use another \
         interface, or one provider for both"
    )]
    Provider {
        /// The later class, which is not served.
        class: String,
        /// Its provider.
        provider: String,
        /// The earlier one.
        other: String,
        /// That one's provider.
        other_provider: String,
        /// What both use.
        interface: String,
        /// Where; `every node` where no node is known.
        node: String,
    },
}

/// An interface of a node.
type Place<'a> = (&'a str, &'a str);

/// The classes that are not served because of an earlier one that is, by their names.
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
    let mut users: HashMap<Place<'_>, &Class> = HashMap::new();
    for class in candidates {
        let places: Vec<Place<'_>> = nodes
            .iter()
            .filter_map(|(node, labels)| {
                let uplink = class.uplinks.iter().find(|uplink| uplink.serves(labels.as_ref()))?;
                Some((node.as_str(), uplink.interface.as_str()))
            })
            .collect();
        let conflict = places.iter().find_map(|&place| conflict(class, users.get(&place)?, place));
        if let Some(conflict) = conflict {
            conflicts.insert(class.name.clone(), conflict);
            continue;
        }
        for place in places {
            users.entry(place).or_insert(class);
        }
    }
    conflicts
}

/// What keeps a class from a place that an earlier one uses.
fn conflict(class: &Class, other: &Class, (node, interface): Place<'_>) -> Option<FabricConflict> {
    if makes_ports(class) != makes_ports(other) {
        // Said first: a common name for the wire would not help.
        return Some(FabricConflict::Provider {
            class: class.name.clone(),
            provider: class.provider.clone(),
            other: other.name.clone(),
            other_provider: other.provider.clone(),
            interface: interface.to_owned(),
            node: node.to_owned(),
        });
    }
    (class.fabric != other.fabric).then(|| FabricConflict::Name {
        class: class.name.clone(),
        fabric: class.fabric.clone(),
        other: other.name.clone(),
        other_fabric: other.fabric.clone(),
        interface: interface.to_owned(),
        node: node.to_owned(),
    })
}

/// Whether its uplinks become ports of bridges.
fn makes_ports(class: &Class) -> bool {
    class.provider == BRIDGE
}

/// Only classes that name one interface and do not agree on it can conflict; mostly there are none, and no node need be
/// looked at.
fn sharing_interfaces<'a>(classes: &[(&'a Class, &Seniority)]) -> Vec<&'a Class> {
    let mut uses: HashMap<&str, BTreeSet<(&str, bool)>> = HashMap::new();
    for (class, _) in classes {
        for uplink in &class.uplinks {
            uses.entry(&uplink.interface).or_default().insert((&class.fabric, makes_ports(class)));
        }
    }
    let shares = |class: &Class| {
        let mut interfaces = class.uplinks.iter().map(|uplink| uplink.interface.as_str());
        interfaces.any(|interface| uses.get(interface).is_some_and(|uses| uses.len() > 1))
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

    fn seniority(created: i64) -> Seniority {
        Seniority { created, uid: String::new() }
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
        let (older, younger) = (seniority(1), seniority(2));
        let conflicts = fabric_conflicts([(&second, &younger), (&first, &older)], nodes);
        assert_eq!(conflicts.keys().collect::<Vec<_>>(), if why.is_some() { vec!["b"] } else { vec![] });
        for conflict in conflicts.values() {
            let message = conflict.to_string();
            assert!(message.contains(why.unwrap()) && message.contains("set spec.fabric: a"), "{message}");
        }
    }

    fn by(provider: &str, class: Class) -> Class {
        Class { provider: provider.into(), ..class }
    }

    #[rstest]
    #[case::a_port_after("macvlan", "bridge", true)]
    #[case::a_port_before("bridge", "macvlan", true)]
    #[case::two_ports("bridge", "bridge", false)]
    #[case::two_parents("macvlan", "macvlan", false)]
    fn a_bridges_port_is_nobody_elses(#[case] first: &str, #[case] second: &str, #[case] conflict: bool) {
        let nodes = || vec![("n1".to_owned(), labels(&[]))];
        let (older, younger) = (seniority(1), seniority(2));
        for fabric in ["dc", "other"] {
            let first = by(first, on("a", "dc", &[("eth1", None)]));
            let second = by(second, on("b", fabric, &[("eth1", None)]));
            let conflicts = fabric_conflicts([(&second, &younger), (&first, &older)], nodes);
            let provider = matches!(conflicts.get("b"), Some(FabricConflict::Provider { .. }));
            assert_eq!(provider, conflict, "{conflicts:?}");
            assert!(!conflicts.contains_key("a"), "{conflicts:?}");
        }
        let apart = by(second, on("b", "dc", &[("eth2", None)]));
        let first = by(first, on("a", "dc", &[("eth1", None)]));
        assert!(fabric_conflicts([(&apart, &younger), (&first, &older)], nodes).is_empty());
    }

    #[test]
    fn who_can_not_share_a_port_is_told_with_whom() {
        let (parent, port) =
            (on("fab", "dc", &[("eth1", None)]), by("bridge", on("wire", "dc", &[("eth1", None)])));
        let nodes = || vec![("n1".to_owned(), labels(&[]))];
        let conflicts = fabric_conflicts([(&parent, &seniority(1)), (&port, &seniority(2))], nodes);
        assert_eq!(
            conflicts["wire"].to_string(),
            "NetworkClass \"wire\" uses interface eth1 of node n1 by provider bridge, which NetworkClass \"fab\" uses by \
             provider macvlan already, and a bridge's port is nobody else's: use another interface, or one provider for both"
        );
    }

    #[test]
    fn who_is_not_served_is_in_nobodys_way() {
        let nodes =
            || vec![("n1".to_owned(), labels(&[("rack", "x")])), ("n2".to_owned(), labels(&[("rack", "y")]))];
        let first = on("a", "a", &[("eth1", Some("y"))]);
        let second = on("b", "b", &[("eth2", Some("x")), ("eth1", Some("y"))]);
        let third = on("c", "c", &[("eth2", Some("x"))]);
        let conflicts = fabric_conflicts(
            [(&first, &seniority(1)), (&second, &seniority(2)), (&third, &seniority(3))],
            nodes,
        );
        assert_eq!(conflicts.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn without_nodes_the_first_uplinks_count() {
        let (a, b) = (on("a", "a", &[("eth1", Some("x"))]), on("b", "b", &[("eth1", Some("y"))]));
        let same = seniority(1);
        let conflicts = fabric_conflicts([(&a, &same), (&b, &same)], Vec::new);
        assert!(conflicts["b"].to_string().contains("of every node"), "{conflicts:?}");
    }
}
