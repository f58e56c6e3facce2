//! Networks: whether what is written would be served.

use std::sync::Arc;

use ipnetwork::IpNetwork;
use knap_api::Network;
use knap_core::check_removal;
use knap_protocol::NetworkName;
use kube::ResourceExt;

use super::verdict::Refused;
use super::{Question, Read, UNREADABLE, Verdict};
use crate::provision::{Granted, Rules, Trial};
use crate::store::ObjectName;
use crate::view::View;

pub(super) async fn decide(view: &Arc<View>, rules: Rules, question: &Question, read: &Read) -> Verdict {
    if question.is_about_what_goes() || question.leaves_spec_alone() {
        return Verdict::allowed();
    }
    let mut network: Network = match question.object() {
        Ok(network) => network,
        Err(why) => return Verdict::refused(UNREADABLE, why),
    };
    // If that is there still, the API server says so.
    let namesake = view.networks.get(&ObjectName::of(&network)).filter(|_| question.operation == "CREATE");
    let old = if question.operation == "UPDATE" { question.old_object::<Network>() } else { None };
    // What it was granted is not the writer's to change.
    if let Some(old) = &old {
        network.status.clone_from(&old.status);
    }
    if let Some(refused) = old.as_ref().and_then(|old| removed_in_use(view, old, &network)) {
        return Verdict { refused: Some(refused), ..Verdict::default() };
    }
    let trial = || {
        let mut trial = Trial::new(view, rules, read.namespaces());
        namesake.iter().for_each(|namesake| trial.leave_out(namesake));
        trial
    };
    let Err(unserved) = trial().network(&network).await else { return Verdict::allowed() };
    let message = format!("Network {} would not be served: {}", name_of(&network), unserved.message);
    if unserved.may_pass {
        return Verdict::warning(message);
    }
    let reason = unserved.reason;
    // Who changes something else of a Network that is refused already is not to blame.
    if let Some(mut old) = old {
        old.metadata.namespace.clone_from(&network.metadata.namespace);
        if trial().network(&old).await == Err(unserved) {
            return Verdict::warning(message);
        }
    }
    Verdict::refused(reason, message)
}

/// Why a subnet can't be taken away, if one is that attachments use. The controller would leave it.
pub(crate) fn removed_in_use(view: &View, old: &Network, new: &Network) -> Option<Refused> {
    let name = NetworkName::new(&new.namespace()?, &new.name_any()).ok()?;
    let held = view.leases.slots_of(&name, &old.uid()?);
    let granted = Granted::of(old).ok()?.subnets;
    let prefixes = |network: &Network| -> Vec<IpNetwork> {
        network.spec.subnets.iter().filter_map(|subnet| subnet.parse().ok()).collect()
    };
    let checked = check_removal(&prefixes(old), &prefixes(new), &granted, &held);
    let removed = checked.err()?;
    Some(Refused { reason: "SubnetInUse", message: format!("Network {}: {removed}", name_of(new)) })
}

fn name_of(network: &Network) -> String {
    ObjectName::of(network).to_string()
}
