//! Second step: which class serves a Network, and what it needs. Pure.

use knap_core::{
    Class, DecideError, Decision, Labels, NetworkIntent, Seniority, built_in_class, check_networks, decide,
};

use super::error::ProvisionError;
use super::fetch::Fetched;
use super::granted::Granted;
use super::reserved::Thing;
use crate::store::Kind;

/// What is known of a Network beside its spec.
pub(super) struct Standing<'a> {
    /// What its status records.
    pub(super) granted: &'a Granted,
    /// Whether it has been provisioned once.
    pub(super) provisioned: bool,
    /// How many leases it has.
    pub(super) leases: u32,
    /// Labels of its namespace; without them nothing is filtered by label.
    pub(super) namespace_labels: Option<&'a Labels>,
}

/// Selects the class. A Network that has been provisioned stays with its class as long as that serves it, whatever
/// other classes come or are marked as default.
pub(super) fn choose(
    intent: &NetworkIntent,
    fetched: &Fetched,
    standing: &Standing<'_>,
) -> Result<Decision<'static>, ProvisionError> {
    if let Some(error) = intent.class.as_ref().and_then(|name| fetched.broken_classes.get(name)) {
        return Err(ProvisionError::Class(error.clone()));
    }
    let present = standing.granted.class.as_deref().filter(|_| standing.provisioned);
    if let Some(class) = present.and_then(|name| class_by_name(name, fetched)) {
        match decide(intent, [&as_default(class)], standing.namespace_labels) {
            // With this class alone in question, a built-in one may be found for another provider.
            Ok(decision) if Some(&*decision.class.name) == present => {
                let decision = into_owned(decision);
                check_wire(&decision.class, fetched)?;
                check_same(&decision.class, intent, fetched, standing)?;
                return Ok(decision);
            }
            // The Network, or its class's access, has changed: perhaps another class serves it.
            Ok(_) | Err(DecideError::Selection(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let decision = into_owned(decide(intent, fetched.classes.values(), standing.namespace_labels)?);
    let name = &decision.class.name;
    if let Some(was) = present.filter(|was| was != name && standing.leases > 0) {
        return Err(ProvisionError::Fixed {
            what: "the class",
            was: was.to_owned(),
            becomes: name.clone(),
            leases: standing.leases,
        });
    }
    check_wire(&decision.class, fetched)?;
    // Who has been granted what it has keeps it: a later one is told no, however little later it was made.
    if standing.granted.class.as_ref() != Some(name) {
        let others = fetched.others(&intent.owner.namespace, name, &intent.owner.uid);
        check_networks(&intent.owner, others, &decision.class)?;
    }
    Ok(decision)
}

/// A class that can't use its wire beside an earlier one: VLANs that it gave out would be taken there, or interfaces a bridge's.
fn check_wire(class: &Class, fetched: &Fetched) -> Result<(), ProvisionError> {
    match fetched.fabric_conflicts.get(&class.name) {
        Some(conflict) => Err(ProvisionError::Fabric(Box::new(conflict.clone()))),
        None => Ok(()),
    }
}

/// The class may have changed, but not in what would set new attachments apart from those that run.
fn check_same(
    class: &Class,
    intent: &NetworkIntent,
    fetched: &Fetched,
    standing: &Standing<'_>,
) -> Result<(), ProvisionError> {
    let fabrics = fetched.reserved.of(&intent.owner.uid).filter_map(|(thing, _)| match thing {
        Thing::Vlan(fabric, _) => Some(fabric),
        _ => None,
    });
    let providers =
        standing.granted.provider.iter().map(|provider| ("the provider", provider, &class.provider));
    let fabrics = fabrics.map(|fabric| ("the fabric", fabric, &class.fabric));
    match providers.chain(fabrics).find(|(_, was, becomes)| was != becomes) {
        Some((what, was, becomes)) if standing.leases > 0 => Err(ProvisionError::Fixed {
            what,
            was: was.clone(),
            becomes: becomes.clone(),
            leases: standing.leases,
        }),
        _ => Ok(()),
    }
}

/// A class that there is, or one of the built-in ones.
pub(super) fn class_by_name(name: &str, fetched: &Fetched) -> Option<Class> {
    fetched.classes.get(name).cloned().or_else(|| built_in_by_name(name))
}

/// A built-in class, by the name that a status records.
pub(crate) fn built_in_by_name(name: &str) -> Option<Class> {
    built_in_classes().find(|class| class.name == name)
}

/// All classes that are there without anybody having made them.
pub(crate) fn built_in_classes() -> impl Iterator<Item = Class> {
    knap_core::provider::names().into_iter().filter_map(built_in_class)
}

/// Alone in question, the class serves also a Network that names none.
fn as_default(class: Class) -> Class {
    Class { is_default: true, ..class }
}

fn into_owned(decision: Decision<'_>) -> Decision<'static> {
    Decision {
        class: std::borrow::Cow::Owned(decision.class.into_owned()),
        provider: decision.provider,
        needs: decision.needs,
    }
}

/// An object's place in the order of creation. One that is not created yet is the last.
pub(super) fn seniority_of<K: Kind>(object: &K) -> Seniority {
    let meta = object.meta();
    Seniority {
        created: meta.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
        uid: meta.uid.clone().unwrap_or_default(),
    }
}
