//! A Network made ready to serve: everything that attachments have in common, worked out once per version of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use knap_api::{NETWORK_UID_LABEL, Network, NetworkClass, Reservation};
use knap_core::{Class, Grant, Layout, MacCode, Needs, NetworkIntent, Plan, Provider, provider};
use knap_protocol::NetworkName;
use kube::ResourceExt;
use parking_lot::Mutex;

use super::gate::Watched;
use super::refusal::Refusal;
use crate::provision::{
    Granted, READY, Thing, built_in_by_name, class_name, condition, is_decided, is_ready, is_refused,
};
use crate::store::{Labels, ObjectName, Store};
use crate::translate;
use crate::view::View;

/// One version of a Network, ready to serve.
pub(super) struct Prepared {
    pub(super) name: NetworkName,
    pub(super) uid: String,
    pub(super) intent: NetworkIntent,
    pub(super) class: Class,
    pub(super) provider: &'static dyn Provider,
    pub(super) plan: Plan,
    pub(super) layout: Layout,
    pub(super) mac_code: MacCode,
    /// Names of the Reservations to look at before an attachment is answered.
    pub(super) watched: Arc<[String]>,
    version: Version,
}

/// What a preparation was made of: resourceVersions of the Network and of its class.
type Version = (Option<String>, Option<String>);

impl Prepared {
    /// Within what a requested MAC address must be unique: the broadcast domain.
    pub(super) fn segment(&self) -> String {
        let (segment, fabric) = (&self.plan.segment, &self.class.fabric);
        match (segment.vlan, segment.vni) {
            (Some(vlan), _) => format!("vlan-{fabric}-{vlan}"),
            (None, Some(vni)) => format!("vni-{vni}"),
            (None, None) if segment.bridge.is_some() && self.plan.uplinks.is_empty() => {
                format!("network-{}", self.mac_code)
            }
            (None, None) => format!("fabric-{fabric}"),
        }
    }
}

/// Preparations, kept until the Network or its class changes.
#[derive(Default)]
pub(super) struct Preparations {
    kept: Mutex<HashMap<NetworkName, Arc<Prepared>>>,
}

impl Preparations {
    /// The Network as it is to be served now.
    pub(super) async fn get<S: Store>(
        &self,
        store: &S,
        view: &View,
        network: &Network,
        name: &NetworkName,
    ) -> Result<Arc<Prepared>, Refusal> {
        refuse_unready(network, name)?;
        let class = class_of(view, network);
        let version = version_of(network, class.as_deref());
        let kept = self.kept.lock().get(name).cloned();
        if let Some(kept) = kept.filter(|kept| kept.version == version) {
            return Ok(kept);
        }
        let prepared = Arc::new(prepare(store, view, network, name, class.as_deref(), version).await?);
        let mut kept = self.kept.lock();
        // Preparing may take long enough for another to prepare what has become of the Network since: that is what it offers.
        let now = view.network(name).map(|now| version_of(&now, class_of(view, &now).as_deref()));
        if now.is_none_or(|now| !is_behind(&prepared.version, &now)) {
            view.leases.offer(name, prepared.layout.usable_slots());
            kept.insert(name.clone(), Arc::clone(&prepared));
        }
        Ok(prepared)
    }

    /// Networks that preparations are kept for.
    pub(super) fn names(&self) -> Vec<NetworkName> {
        self.kept.lock().keys().cloned().collect()
    }

    /// What the Networks as they are prepared now are served from.
    pub(super) fn watched(&self) -> HashSet<Watched> {
        let kept = self.kept.lock();
        kept.values().map(|prepared| (prepared.uid.clone(), Arc::clone(&prepared.watched))).collect()
    }

    /// Forgets a Network that is gone.
    pub(super) fn forget(&self, name: &NetworkName) {
        self.kept.lock().remove(name);
    }
}

fn class_of(view: &View, network: &Network) -> Option<Arc<NetworkClass>> {
    view.classes.get(&ObjectName::cluster(class_name(network)?))
}

fn version_of(network: &Network, class: Option<&NetworkClass>) -> Version {
    (network.resource_version(), class.and_then(ResourceExt::resource_version))
}

/// Whether what was prepared of this version is not of what the view knows now, nor of what it will know.
fn is_behind(prepared: &Version, now: &Version) -> bool {
    let number = |version: &Version| version.0.as_ref()?.parse::<u64>().ok();
    number(prepared) <= number(now) && prepared != now
}

/// Refuses what does not serve now.
pub(super) fn refuse_unready(network: &Network, name: &NetworkName) -> Result<(), Refusal> {
    let not_ready = |reason: String| Err(Refusal::NotReady { network: name.clone(), reason });
    if network.metadata.deletion_timestamp.is_some() {
        return not_ready("it is being deleted".to_owned());
    }
    match condition(network, READY) {
        _ if is_ready(network) => Ok(()),
        Some(ready) if is_refused(network) => {
            Err(Refusal::NotAccepted { network: name.clone(), reason: ready.message.clone() })
        }
        Some(ready) if is_decided(network) => not_ready(ready.message.clone()),
        _ => not_ready("it is being provisioned; try again".to_owned()),
    }
}

async fn prepare<S: Store>(
    store: &S,
    view: &View,
    network: &Network,
    name: &NetworkName,
    class: Option<&NetworkClass>,
    version: Version,
) -> Result<Prepared, Refusal> {
    let not_ready = |reason: String| Refusal::NotReady { network: name.clone(), reason };
    let intent = translate::network(network).map_err(|error| not_ready(error.to_string()))?;
    let granted = Granted::of(network).map_err(|error| not_ready(error.to_string()))?;
    let class_name = granted.class.clone().unwrap_or_default();
    let class = match class {
        Some(class) => translate::class(class).map_err(|error| not_ready(error.to_string()))?,
        None => built_in_by_name(&class_name)
            .ok_or_else(|| not_ready(format!("its NetworkClass {class_name:?} does not exist")))?,
    };
    let provider = provider::provider(&class.provider)
        .ok_or_else(|| not_ready(format!("its provider {:?} does not exist", class.provider)))?;
    let mac_code =
        granted.mac_code.ok_or_else(|| not_ready("it is being provisioned; try again".to_owned()))?;
    let layout = if granted.subnets.is_empty() {
        Layout::without_addresses()
    } else {
        Layout::new(granted.subnets.clone(), intent.reserved.clone())
            .map_err(|error| not_ready(error.to_string()))?
    };
    let grant = Grant { mac_code, vlan: granted.vlan, vni: granted.vni, layout: layout.clone() };
    let plan = provider.plan(&intent, &class, &grant).map_err(|error| not_ready(error.to_string()))?;
    let needs =
        Needs::of(&intent, &class, provider.profile(&class)).map_err(|error| not_ready(error.to_string()))?;
    let held = held(store, view, &intent.owner.uid, &granted, &Place::of(&needs, &grant)).await?;
    let watched = held
        .ok_or_else(|| not_ready("what it had reserved is gone; it is being provisioned again".to_owned()))?;
    Ok(Prepared {
        name: name.clone(),
        uid: intent.owner.uid.clone(),
        intent,
        class,
        provider,
        plan,
        layout,
        mac_code,
        watched,
        version,
    })
}

/// Where the class has its Networks' subnets now. After a change of the class they are elsewhere until the controller has
/// looked at it, and not safe there.
struct Place {
    scope: String,
    routed: bool,
}

impl Place {
    fn of(needs: &Needs, grant: &Grant) -> Self {
        let scope = needs.address_scope(grant.mac_code, grant.vlan, grant.vni);
        Self { scope, routed: needs.routed }
    }

    /// Whether a Reservation is of use there. One that is held against more than it needs is.
    fn takes(&self, thing: &Thing, reservation: &Reservation) -> bool {
        match thing {
            Thing::Subnet(scope, _) => *scope == self.scope && (reservation.spec.routed || !self.routed),
            _ => true,
        }
    }
}

/// Names of the Reservations to watch, if all are there that hold what was granted; none if some are missing, even by a
/// consistent list.
async fn held<S: Store>(
    store: &S,
    view: &View,
    uid: &str,
    granted: &Granted,
    place: &Place,
) -> Result<Option<Arc<[String]>>, Refusal> {
    let known = view.reservations.all();
    let known = known.iter().map(|reservation| &**reservation).filter(|known| known.spec.network.uid == uid);
    if let Some(names) = watched(known, granted, place) {
        return Ok(Some(names));
    }
    let labels = Labels::from([(NETWORK_UID_LABEL.to_owned(), Some(uid.to_owned()))]);
    let listed = store.list::<Reservation>(&labels).await?;
    Ok(watched(listed.iter(), granted, place))
}

/// Everything that a Network has is marked as draining before the last look at its leases, so one Reservation shows its end
/// as well as all would. What a Network may give up while it lives is looked at by itself: subnets, a VLAN, a VNI. A MAC code
/// stays until the end, so where there is anything else it need not be read.
fn watched<'a>(
    known: impl Iterator<Item = &'a Reservation>,
    granted: &Granted,
    place: &Place,
) -> Option<Arc<[String]>> {
    let known = known.map(|known| (Thing::of(known), known));
    let known = known.filter(|(thing, known)| place.takes(thing, known));
    let known: Vec<(Thing, String)> = known.map(|(thing, known)| (thing, known.name_any())).collect();
    let name = |wanted: &dyn Fn(&Thing) -> bool| {
        known.iter().find(|(thing, _)| wanted(thing)).map(|(_, name)| name.clone())
    };
    let mut names = Vec::new();
    if let Some(vlan) = granted.vlan {
        names.push(name(&|thing| matches!(thing, Thing::Vlan(_, held) if *held == vlan))?);
    }
    if let Some(vni) = granted.vni {
        names.push(name(&|thing| *thing == Thing::Vni(vni))?);
    }
    for subnet in &granted.subnets {
        names.push(name(&|thing| matches!(thing, Thing::Subnet(_, cidr) if *cidr == subnet.cidr))?);
    }
    if let Some(code) = granted.mac_code {
        let code = name(&|thing| *thing == Thing::MacCode(code))?;
        if names.is_empty() {
            names.push(code);
        }
    }
    Some(names.into())
}
