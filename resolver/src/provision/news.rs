//! What a person who looks at a Network would want to have heard: changes of its conditions. Pure.

use knap_api::{Condition, ConditionStatus, Network};

use super::status::{PUBLISHED, READY, condition};

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// It needs somebody's attention.
    pub warning: bool,
    /// CamelCase.
    pub reason: String,
    /// What, and what to do.
    pub message: String,
    /// What the controller was doing, CamelCase.
    pub action: &'static str,
}

/// What a change of the status says. Nothing is told twice as long as it stays the same.
pub(super) fn news(before: &Network, now: &Network) -> Vec<News> {
    let kinds = [(READY, "Provision"), (PUBLISHED, "Publish")];
    let changed = kinds.into_iter().filter_map(|(kind, action)| {
        let after = condition(now, kind)?;
        let known = condition(before, kind);
        let holds = after.status == ConditionStatus::True;
        // That a thing is known where nothing was ever wrong with that is no news.
        let told =
            known.is_some_and(|known| same(known, after)) || (holds && kind == PUBLISHED && known.is_none());
        (!told).then(|| News {
            warning: !holds,
            reason: after.reason.clone(),
            message: if holds && kind == READY { serves(now) } else { after.message.clone() },
            action,
        })
    });
    changed.collect()
}

/// A Network is going, and attachments of it run.
pub(super) fn draining(attachments: u32) -> News {
    News {
        warning: false,
        reason: "Draining".to_owned(),
        message: format!(
            "deleted while {attachments} attachments run: they keep running, and what they use stays reserved until \
             the last of them ends"
        ),
        action: "Delete",
    }
}

fn same(one: &Condition, other: &Condition) -> bool {
    (one.status, &one.reason, &one.message) == (other.status, &other.reason, &other.message)
}

fn serves(network: &Network) -> String {
    let status = network.status.clone().unwrap_or_default();
    let subnets: Vec<String> = status.subnets.into_iter().map(|subnet| subnet.cidr).collect();
    let subnets = if subnets.is_empty() { "no subnet".to_owned() } else { subnets.join(", ") };
    format!("attachments are served by class {}, with {subnets}", status.class.unwrap_or_default())
}
