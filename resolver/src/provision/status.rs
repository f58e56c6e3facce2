//! Last step: what became of a Network, written into its status if that changed. Pure.

use k8s_openapi::jiff::Timestamp;
use knap_api::{Condition, ConditionStatus, Network, NetworkStatus, NetworkSummary, Segment, StatusSubnet};
use knap_core::{Grant, Layout, Plan, Slot};

use super::error::ProvisionError;
use super::granted::subnets_in_use;
use super::surroundings::Published;
use crate::timestamp::rfc3339;

/// What a Network got.
pub(super) struct Provisioned {
    pub(super) grant: Grant,
    pub(super) plan: Plan,
}

/// The condition types, in the order in which they become true.
const ACCEPTED: &str = "Accepted";
const PROVISIONED: &str = "Provisioned";
/// Whether attachments are served.
pub(crate) const READY: &str = "Ready";
/// Whether those who attach through Multus find the Network.
pub(crate) const PUBLISHED: &str = "Published";

/// The status that a Network has to have. What it was granted stays in it until something else is granted; and where it is not
/// known how far it is `published`, that stays too.
pub(super) fn status_of(
    network: &Network,
    outcome: &Result<Provisioned, ProvisionError>,
    published: Option<&Published>,
    slots: &[Slot],
    now: Timestamp,
) -> NetworkStatus {
    let mut status = network.status.clone().unwrap_or_default();
    status.observed_generation = network.metadata.generation;
    status.attachments = u64::try_from(slots.len()).unwrap_or(u64::MAX);
    if let Ok(provisioned) = outcome {
        status.class = Some(provisioned.plan.class.clone());
        status.provider = Some(provisioned.plan.provider.clone());
        status.segment = Some(segment_of(provisioned));
        status.mtu = provisioned.plan.mtu;
        status.subnets = subnets_of(&provisioned.grant.layout, slots);
        status.summary = Some(summary_of(&status.subnets, &provisioned.grant.layout, slots.len()));
    } else {
        // What runs goes on, and ends, whether the Network is served or not.
        recount(&mut status, network, slots);
    }
    // While it is not served, the status is the one record of what there was, so trouble takes nothing out of it.
    if let Some(published) = published.filter(|published| outcome.is_ok() || published.trouble.is_none()) {
        status.network_attachment_definitions.clone_from(&published.names);
    }
    let conditions = conditions_of(network, outcome, published, now);
    status.conditions = conditions;
    status
}

/// The same, but for how many attachments and nodes there are: not worth a write for every one of them.
pub(super) fn without_counts(status: &NetworkStatus) -> NetworkStatus {
    let mut status = status.clone();
    status.attachments = 0;
    status.nodes = None;
    if let Some(summary) = &mut status.summary {
        summary.used.clear();
    }
    for subnet in &mut status.subnets {
        subnet.allocated = 0;
    }
    status
}

fn segment_of(provisioned: &Provisioned) -> Segment {
    let segment = &provisioned.plan.segment;
    Segment {
        vlan: segment.vlan,
        vni: segment.vni,
        bridge: segment.bridge.clone(),
        mac_code: Some(provisioned.grant.mac_code.to_string()),
    }
}

fn subnets_of(layout: &Layout, slots: &[Slot]) -> Vec<StatusSubnet> {
    let subnets = layout.subnets().iter().map(|subnet| StatusSubnet {
        cidr: subnet.cidr.to_string(),
        gateway: subnet.gateway.map(|gateway| gateway.to_string()),
        on_link: subnet.on_link.map(|link| link.to_string()),
        slot_base: subnet.slot_base,
        capacity: layout.capacity_of(subnet).into(),
        allocated: slots.iter().filter(|slot| subnet.slots().contains(&slot.get())).count() as u64,
    });
    subnets.collect()
}

/// Has the counts follow the leases, where nothing else changes.
fn recount(status: &mut NetworkStatus, network: &Network, slots: &[Slot]) {
    let in_use = subnets_in_use(network, slots);
    if in_use.len() == status.subnets.len() {
        status.subnets = in_use;
    }
    if let Some(summary) = &mut status.summary {
        let capacity = summary.used.split_once('/').map(|(_, capacity)| format!("/{capacity}"));
        summary.used = format!("{}{}", slots.len(), capacity.unwrap_or_default());
    }
}

fn summary_of(subnets: &[StatusSubnet], layout: &Layout, used: usize) -> NetworkSummary {
    let cidrs: Vec<&str> = subnets.iter().map(|subnet| subnet.cidr.as_str()).collect();
    let used = if subnets.is_empty() { used.to_string() } else { format!("{used}/{}", layout.capacity()) };
    NetworkSummary { subnets: cidrs.join(","), used }
}

fn conditions_of(
    network: &Network,
    outcome: &Result<Provisioned, ProvisionError>,
    published: Option<&Published>,
    now: Timestamp,
) -> Vec<Condition> {
    let said = |kind: &str, status, reason: &str, message: String| {
        let before =
            network.status.iter().flat_map(|status| &status.conditions).find(|known| known.kind == kind);
        let unchanged = before.filter(|known| known.status == status);
        Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message,
            last_transition_time: unchanged
                .map_or_else(|| rfc3339(now), |known| known.last_transition_time.clone()),
            observed_generation: network.metadata.generation,
        }
    };
    let accepted = || {
        let message = "the spec is valid and a class serves it".to_owned();
        said(ACCEPTED, ConditionStatus::True, "Accepted", message)
    };
    let mut conditions = match outcome {
        Ok(_) => vec![
            accepted(),
            said(
                PROVISIONED,
                ConditionStatus::True,
                "Provisioned",
                "all that it needs is reserved".to_owned(),
            ),
            said(READY, ConditionStatus::True, "Ready", "attachments are served".to_owned()),
        ],
        Err(error) => {
            let (reason, message) = (error.reason(), error.to_string());
            let not = |kind| said(kind, ConditionStatus::False, reason, message.clone());
            let accepted = if error.is_refusal() { not(ACCEPTED) } else { accepted() };
            vec![accepted, not(PROVISIONED), not(READY)]
        }
    };
    match published {
        Some(Published { trouble: Some(trouble), .. }) => {
            let message = trouble.message.clone();
            conditions.push(said(PUBLISHED, ConditionStatus::False, trouble.reason, message));
        }
        Some(Published { names, trouble: None }) => {
            let message = format!("pods attach by k8s.v1.cni.cncf.io/networks: {}", names.join(" or "));
            conditions.push(said(PUBLISHED, ConditionStatus::True, "Published", message));
        }
        None => conditions.extend(condition(network, PUBLISHED).cloned()),
    }
    conditions
}

/// A condition of a Network.
pub(crate) fn condition<'a>(network: &'a Network, kind: &str) -> Option<&'a Condition> {
    network.status.as_ref()?.conditions.iter().find(|condition| condition.kind == kind)
}

/// Whether a Network's conditions say that all is reserved.
pub(super) fn is_provisioned(network: &Network) -> bool {
    condition(network, PROVISIONED).is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// Whether the controller has said what becomes of the spec as it is now.
pub(crate) fn is_decided(network: &Network) -> bool {
    condition(network, READY).is_some_and(|ready| ready.observed_generation == network.metadata.generation)
}

/// Whether the spec can't be served until a person changes it, or what it depends on.
pub(crate) fn is_refused(network: &Network) -> bool {
    is_decided(network)
        && condition(network, ACCEPTED).is_some_and(|accepted| accepted.status == ConditionStatus::False)
}

/// The class that serves a Network, as its status says.
pub(crate) fn class_name(network: &Network) -> Option<&str> {
    network.status.as_ref()?.class.as_deref()
}

/// Whether attachments are served: by the condition, if it was made for the spec as it is now.
pub(crate) fn is_ready(network: &Network) -> bool {
    is_decided(network)
        && condition(network, READY).is_some_and(|ready| ready.status == ConditionStatus::True)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provision::Trouble;

    #[test]
    fn counts_follow_what_runs_also_while_a_network_is_not_served() {
        let network: Network = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "blue"}, "spec": {},
            "status": {
                "attachments": 3,
                "subnets": [{"cidr": "10.64.7.0/24", "slotBase": 0, "capacity": 254, "allocated": 3}],
                "summary": {"subnets": "10.64.7.0/24", "used": "3/254"}
            }
        }))
        .unwrap();
        let outcome = Err(ProvisionError::StickyWithoutKubernetes);
        let status = status_of(&network, &outcome, None, &[Slot::new(5).unwrap()], Timestamp::UNIX_EPOCH);
        assert_eq!((status.attachments, status.subnets[0].allocated), (1, 1));
        assert_eq!(status.summary.unwrap().used, "1/254");
        let never = Network { status: None, ..network };
        assert_eq!(status_of(&never, &outcome, None, &[], Timestamp::UNIX_EPOCH).attachments, 0);
    }

    #[test]
    fn what_a_network_was_published_by_stays_recorded_while_it_is_not_served() {
        let names = vec!["shop/blue".to_owned(), "web/shop--blue".to_owned()];
        let network: Network = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "blue"}, "spec": {},
            "status": {"networkAttachmentDefinitions": names}
        }))
        .unwrap();
        let outcome = Err(ProvisionError::StickyWithoutKubernetes);
        let of = |published: Published| {
            let status = status_of(&network, &outcome, Some(&published), &[], Timestamp::UNIX_EPOCH);
            let published = status.conditions.into_iter().find(|known| known.kind == PUBLISHED).unwrap();
            (status.network_attachment_definitions, published.reason)
        };
        let own = vec!["shop/blue".to_owned()];
        let trouble = Trouble { reason: "NameTaken", message: "web/shop--blue is not Knap's".to_owned() };
        let troubled = Published { names: own.clone(), trouble: Some(trouble) };
        assert_eq!(of(troubled), (names.clone(), "NameTaken".to_owned()));
        // Its namespace does not take it any more.
        assert_eq!(of(Published { names: own.clone(), trouble: None }), (own, "Published".to_owned()));
    }
}
