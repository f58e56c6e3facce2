//! Which nodes serve which class, by what the view knows.

use std::collections::HashMap;

use knap_api::{EligibleNodes, NodeInventory};
use knap_core::{Class, Equipment, FenceReason, Found, NodeNeeds, Standing, check_node};

use super::record::boots_of;
use crate::store::ObjectName;
use crate::view::{KnownNode, View};

/// All nodes as they are at one moment, and what was asked of them.
#[derive(Debug, Default)]
pub(crate) struct Eligibility {
    /// None while nobody has asked.
    nodes: Option<Vec<(String, Equipment)>>,
    /// By class, and whether its addresses come by DHCP.
    counted: HashMap<(String, bool), EligibleNodes>,
}

impl Eligibility {
    /// How many nodes serve a class. Where no Node is known at all nothing is filtered: whoever attaches there can.
    pub(crate) fn count(&mut self, view: &View, class: &Class, dhcp: bool) -> EligibleNodes {
        if view.nodes.is_empty() {
            let total = number(view.inventories.len());
            return EligibleNodes { eligible: total, total };
        }
        if let Some(counted) = self.counted.get(&(class.name.clone(), dhcp)) {
            return counted.clone();
        }
        let nodes = self.nodes.get_or_insert_with(|| equipment(view));
        let needs = if dhcp { NodeNeeds::of(class).with_dhcp() } else { NodeNeeds::of(class) };
        let eligible = nodes.iter().filter(|(_, node)| check_node(&needs, node).is_ok()).count();
        let counted = EligibleNodes { eligible: number(eligible), total: number(nodes.len()) };
        self.counted.insert((class.name.clone(), dhcp), counted.clone());
        counted
    }
}

/// Every Node with what is known of it.
pub(crate) fn equipment(view: &View) -> Vec<(String, Equipment)> {
    let nodes = view.nodes.entries().into_iter();
    let all = nodes.map(|(name, node)| {
        let inventory = view.inventories.get(&name);
        (name.name, equipment_of(&node, inventory.as_deref()))
    });
    all.collect()
}

/// One Node with what is known of it; none where it is gone.
pub(crate) fn equipment_at(view: &View, node: &str) -> Option<Equipment> {
    let name = ObjectName::cluster(node);
    let known = view.nodes.get(&name)?;
    Some(equipment_of(&known, view.inventories.get(&name).as_deref()))
}

fn equipment_of(node: &KnownNode, inventory: Option<&NodeInventory>) -> Equipment {
    Equipment {
        labels: node.labels.as_ref().clone(),
        resources: node.resources.clone(),
        found: inventory.filter(|inventory| inventory.spec.agent_version.is_some()).map(found),
        fenced: inventory.and_then(fenced),
    }
}

fn found(inventory: &NodeInventory) -> Found {
    Found {
        interfaces: inventory.spec.interfaces.iter().map(|interface| interface.name.clone()).collect(),
        delegates: inventory.spec.delegates.iter().map(|plugin| plugin.kind.clone()).collect(),
    }
}

fn fenced(inventory: &NodeInventory) -> Option<FenceReason> {
    match boots_of(inventory).standing(&inventory.spec.boot_id) {
        Standing::Fenced(reason) => Some(reason),
        _ => None,
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
