//! NetworkClasses: whether a class can serve, and whether a change of it takes something from the Networks that it serves.

use std::collections::BTreeSet;
use std::sync::Arc;

use knap_api::{DEFAULT_CLASS_ANNOTATION, Network, NetworkClass};
use knap_core::Class;
use kube::ResourceExt;

use super::{Question, Read, UNREADABLE, Verdict};
use crate::provision::{Rules, Trial, check_class, class_name, classes_with, display_name, is_ready};
use crate::view::View;

/// Networks named in one message.
const NAMED: usize = 3;
/// Networks that are tried before others get a turn.
const TURN: usize = 64;

pub(super) async fn decide(view: &Arc<View>, rules: Rules, question: &Question, read: &Read) -> Verdict {
    let serves_alike = question.is_about_what_goes() || question.leaves_spec_alone();
    let class: NetworkClass = match question.object() {
        Ok(class) => class,
        Err(_) if serves_alike => return Verdict::allowed(),
        Err(why) => return Verdict::refused(UNREADABLE, why),
    };
    let second_default = second_default(view, &class);
    if serves_alike {
        let asked = matches!(&*question.operation, "CREATE" | "UPDATE");
        return Verdict::allowed().and_warn(second_default.filter(|_| asked));
    }
    let refusal = match check_class(&class) {
        Ok(translated) => swallowed(view, &translated).map(|why| ("ClusterConflict", why)),
        Err(error) => Some((error.reason(), error.to_string())),
    };
    if let Some((reason, why)) = refusal {
        let old = question.old_object::<NetworkClass>();
        // Who changes something else of a class that can't serve already is not to blame.
        let known = old.and_then(|old| check_class(&old).err()).is_some_and(|error| error.to_string() == why);
        return if known { Verdict::warning(why) } else { Verdict::refused(reason, why) };
    }
    let verdict = match broken(view, rules, &class, read).await {
        Some(why) => Verdict::refused("NetworksAffected", why),
        None => Verdict::allowed(),
    };
    verdict.and_warn(second_default).and_warn(partly_taken(view, &class))
}

/// Why nobody could be served by it, where all of a subnet is the cluster's own.
fn swallowed(view: &View, class: &Class) -> Option<String> {
    let cluster = view.cluster_networks();
    class.subnets.iter().enumerate().find_map(|(index, pool)| {
        let network = cluster.around(pool.cidr())?;
        Some(format!(
            "NetworkClass {}: spec.subnets[{index}]: {} lies in {}, {}: choose address space that the cluster does not use",
            class.name,
            pool.cidr(),
            network.cidr,
            network.what
        ))
    })
}

/// What is left out of its subnets, since the cluster uses it.
fn partly_taken(view: &View, class: &NetworkClass) -> Vec<String> {
    let cluster = view.cluster_networks();
    let Ok(class) = check_class(class) else { return Vec::new() };
    let cidrs = class.subnets.iter().map(knap_core::Pool::cidr);
    let conflicts = cidrs.filter_map(|cidr| match cluster.conflict(cidr, &[], || None)? {
        knap_core::ClusterConflict::Range { subnet, cidr, what, .. } => {
            Some(format!("NetworkClass {}: of {subnet}, {cidr} is left out, {what}", class.name))
        }
        // Of these Networks take care by spec.reserved, each by itself.
        knap_core::ClusterConflict::Address { .. } => None,
    });
    conflicts.collect()
}

fn second_default(view: &View, class: &NetworkClass) -> Option<String> {
    let marked = |class: &NetworkClass| {
        class.annotations().get(DEFAULT_CLASS_ANNOTATION).is_some_and(|value| value == "true")
    };
    let mut others = view.classes.all();
    others.retain(|other| other.name_any() != class.name_any() && marked(other));
    let other = others.iter().min_by_key(|other| other.name_any()).filter(|_| marked(class))?;
    Some(format!(
        "NetworkClass {} is marked as default too: Networks that name no class are refused until only one is",
        other.name_any()
    ))
}

/// Which Networks that are served would not be any more, and why.
async fn broken(view: &Arc<View>, rules: Rules, class: &NetworkClass, read: &Read) -> Option<String> {
    let name = class.name_any();
    let before = Trial::new(view, rules, read.namespaces());
    let mut trial = Trial::with_classes(view, rules, read.namespaces(), &classes_with(view, class));
    if let Some(conflict) = trial.fabric_conflict(&name).filter(|_| before.fabric_conflict(&name).is_none()) {
        return Some(conflict);
    }
    let known: BTreeSet<&str> = before.fabric_conflicts().collect();
    let lost = trial.fabric_conflicts().filter(|class| !known.contains(class)).map(str::to_owned);
    let concerned: BTreeSet<String> = lost.chain([name]).collect();
    let mut broken = Vec::new();
    for (index, network) in served_by(view, &concerned).iter().enumerate() {
        if let Err(unserved) = trial.network(network).await {
            broken.push((display_name(network), unserved.message));
        }
        if index % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    let (first, why) = broken.first()?;
    let others: Vec<&str> = broken.iter().skip(1).take(NAMED).map(|(name, _)| name.as_str()).collect();
    let and = match broken.len() - 1 {
        0 => String::new(),
        count if count <= NAMED => format!(" (nor would {})", others.join(", ")),
        count => format!(" (nor would {} and {} others)", others.join(", "), count - NAMED),
    };
    Some(format!("Network {first} would not be served any more{and}: {why}"))
}

/// The Networks that are Ready by these classes, the oldest first.
fn served_by(view: &View, classes: &BTreeSet<String>) -> Vec<Arc<Network>> {
    let mut networks = view.networks.all();
    networks.retain(|network| {
        class_name(network).is_some_and(|class| classes.contains(class)) && is_ready(network)
    });
    networks.sort_by_cached_key(|network| (network.creation_timestamp(), display_name(network)));
    networks
}
