//! Pods: what one that names Networks needs beside, so that Multus attaches it and the scheduler finds a node that can.

mod affinity;
mod class;
mod devices;
mod merge;
mod named;
mod selection;
mod slipped;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use knap_api::{DHCP_LABEL, Ipam, Network, class_label};
use knap_core::{Class, may_attach};
use knap_protocol::NetworkName;
use serde_json::{Value, json};

use self::class::{Classes, class_named};
use self::merge::{Wanted, merge};
pub(crate) use self::named::interfaces_on;
use self::selection::{Names, Selection, Selections};
pub(crate) use self::slipped::slipped;
use super::verdict::Refused;
use super::{Question, Read, UNREADABLE, Verdict};
use crate::attach::Refusal;
use crate::cluster::nad::concerned;
use crate::provision::{READY, class_name, condition, is_decided, is_ready};
use crate::store::ObjectName;
use crate::translate;
use crate::view::View;

/// What a pod asks Knap by.
pub(crate) const NETWORKS_ANNOTATION: &str = "knap.github.com/networks";
/// What Multus attaches by.
pub(crate) const MULTUS_ANNOTATION: &str = "k8s.v1.cni.cncf.io/networks";
/// On what the kubelet writes about a pod of its own, which runs already.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// About a pod that names Networks.
pub(super) fn decide(view: &View, question: &Question, read: &Read) -> Verdict {
    let pod = Pod::of(question);
    let Some(asked) = pod.asked() else { return launcher(view, question) };
    let refused = |reason, annotation: &str, why: &dyn std::fmt::Display| {
        Verdict::refused(reason, format!("annotation {annotation}: {why}"))
    };
    let asked = match Selections::read(asked, Names::Networks) {
        Ok(asked) if asked.all.is_empty() => return launcher(view, question),
        Ok(asked) => asked,
        Err(why) => return refused(UNREADABLE, NETWORKS_ANNOTATION, &why),
    };
    let there = pod.annotation(MULTUS_ANNOTATION).unwrap_or_default();
    let there = match Selections::read(there, Names::Definitions) {
        Ok(there) => there,
        Err(why) => return refused(UNREADABLE, MULTUS_ANNOTATION, &why),
    };
    let (classes, mut needs) = (Classes::new(view), Needs::default());
    let mut wanted = Vec::new();
    for selection in asked.all {
        match needs.network(&classes, view, &pod, selection, read) {
            Ok(found) => wanted.push(found),
            Err(Refused { reason, message }) => return refused(reason, NETWORKS_ANNOTATION, &message),
        }
    }
    let merged = match merge(&there, wanted, &pod.namespace) {
        Ok(merged) => merged,
        Err(why) => return refused("Collision", NETWORKS_ANNOTATION, &why),
    };
    for selection in &merged.all {
        needs.count(view, &pod, selection);
    }
    let mut patch = needs.patch(pod.object);
    if merged != there {
        patch.push(add("/metadata/annotations/k8s.v1.cni.cncf.io~1networks", &merged.write().into()));
    }
    Verdict { patch, warnings: needs.warnings, ..Verdict::default() }
}

/// About a pod that names what leads to Networks in Multus' annotation alone, as KubeVirt's launchers do. What can't be
/// read is not Knap's to judge, and devices are asked for by whoever makes such pods.
pub(super) fn launcher(view: &View, question: &Question) -> Verdict {
    let pod = Pod::of(question);
    let text = pod.annotation(MULTUS_ANNOTATION).filter(|_| pod.is_new()).unwrap_or_default();
    let mut needs = Needs::default();
    for selection in &Selections::read(text, Names::Definitions).unwrap_or_default().all {
        needs.count(view, &pod, selection);
    }
    needs.devices.clear();
    Verdict { patch: needs.patch(pod.object), ..Verdict::default() }
}

/// The namespace of a review's pod, and the Networks that it asks Knap for.
pub(super) fn asked_networks(question: &Question) -> (String, BTreeSet<NetworkName>) {
    let pod = Pod::of(question);
    let selections = pod.asked().and_then(|text| Selections::read(text, Names::Networks).ok());
    let selections = selections.unwrap_or_default();
    let names = selections.all.iter().filter_map(|selection| pod.network(selection)).collect();
    (pod.namespace, names)
}

/// The pod of a review, as JSON.
struct Pod<'a> {
    question: &'a Question,
    object: &'a Value,
    namespace: String,
}

impl<'a> Pod<'a> {
    fn of(question: &'a Question) -> Self {
        let object = &question.object;
        let own = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let namespace = question.namespace.as_deref().filter(|namespace| !namespace.is_empty()).or(own);
        Self { question, object, namespace: namespace.unwrap_or_default().to_owned() }
    }

    /// Whether it is about to be made: what runs is attached already.
    fn is_new(&self) -> bool {
        self.question.operation == "CREATE"
            && self.question.sub_resource.as_deref().is_none_or(str::is_empty)
            && self.annotation(MIRROR_ANNOTATION).is_none()
    }

    fn annotation(&self, key: &str) -> Option<&'a str> {
        self.object.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    /// What it asks Knap for.
    fn asked(&self) -> Option<&'a str> {
        self.annotation(NETWORKS_ANNOTATION).filter(|_| self.is_new())
    }

    fn network(&self, selection: &Selection) -> Option<NetworkName> {
        NetworkName::new(selection.namespace.as_deref().unwrap_or(&self.namespace), &selection.name).ok()
    }
}

/// What the Networks of a pod need of it.
#[derive(Debug, Default)]
struct Needs {
    /// Of nodes.
    labels: BTreeSet<String>,
    devices: BTreeMap<String, u64>,
    warnings: Vec<String>,
    /// What leads to each Network that was asked for.
    asked: HashMap<NetworkName, Vec<(String, String)>>,
    /// What each name in Multus' annotation leads to, as far as it was looked up.
    known: HashMap<(String, String), Option<Arc<Served>>>,
}

/// How a Network is served.
#[derive(Debug)]
struct Served {
    class: Class,
    ipam: Ipam,
}

impl Needs {
    /// A Network that the pod asks for, if it may have it.
    fn network(
        &mut self,
        classes: &Classes<'_>,
        view: &View,
        pod: &Pod<'_>,
        selection: Selection,
        read: &Read,
    ) -> Result<Wanted, Refused> {
        let refused = |reason, message| Refused { reason, message };
        let name = pod.network(&selection);
        let name = name.ok_or_else(|| refused(UNREADABLE, "the pod has no namespace".to_owned()))?;
        if let Some(known_as) = self.asked.get(&name) {
            return Ok(Wanted { network: name.to_string(), known_as: known_as.clone(), selection });
        }
        let network = read.network(view, &name);
        let network = network
            .ok_or_else(|| refused("UnknownNetwork", Refusal::UnknownNetwork(name.clone()).to_string()))?;
        if network.metadata.deletion_timestamp.is_some() {
            let message = format!("Network {name} is being deleted: name another, or wait and make it anew");
            return Err(refused("UnknownNetwork", message));
        }
        let class = classes.of(&network, read.labels(name.namespace()));
        permit(pod, read, &name, &network, class.as_ref()).map_err(|why| refused("NotPermitted", why))?;
        self.warnings.extend(not_ready(&name, &network));
        let served = class.ok().map(|class| Arc::new(Served { class, ipam: network.spec.ipam }));
        let known_as = names_of(&name, &network, &pod.namespace);
        for key in &known_as {
            self.known.insert(key.clone(), served.clone());
        }
        let network = name.to_string();
        self.asked.insert(name, known_as.clone());
        Ok(Wanted { network, known_as, selection })
    }

    /// Counts what one attachment needs, if it is one to a Network.
    fn count(&mut self, view: &View, pod: &Pod<'_>, selection: &Selection) {
        let namespace = selection.namespace.as_ref().unwrap_or(&pod.namespace);
        let key = (namespace.clone(), selection.name.clone());
        let served =
            self.known.entry(key).or_insert_with_key(|(namespace, name)| led_to(view, namespace, name));
        let Some(Served { class, ipam }) = served.as_deref() else { return };
        self.labels.insert(class_label(&class.name));
        if *ipam == Ipam::Dhcp {
            self.labels.insert(DHCP_LABEL.to_owned());
        }
        if let Some(resource) = &class.resource_name {
            *self.devices.entry(resource.clone()).or_default() += 1;
        }
    }

    fn patch(&self, pod: &Value) -> Vec<Value> {
        let affinity = affinity::requiring(pod, &self.labels);
        let devices = devices::requesting(pod, &self.devices);
        let affinity = affinity.map(|affinity| add("/spec/affinity", &affinity));
        let devices = devices.map(|resources| add("/spec/containers/0/resources", &resources));
        affinity.into_iter().chain(devices).collect()
    }
}

/// Whether pods of the namespace may attach to a Network: what the resolver asks again when they do.
fn permit(
    pod: &Pod<'_>,
    read: &Read,
    name: &NetworkName,
    network: &Network,
    class: Result<&Class, &String>,
) -> Result<(), String> {
    let own = name.namespace() == pod.namespace;
    let (intent, class) = match (translate::network(network), class) {
        (Ok(intent), Ok(class)) => (intent, class),
        _ if own => return Ok(()),
        (Err(error), _) => return Err(error.to_string()),
        (_, Err(why)) => {
            return Err(format!("Network {name} is not served, and so shared with nobody: {why}"));
        }
    };
    may_attach(&intent, class, &pod.namespace, read.labels(&pod.namespace)).map_err(|error| error.to_string())
}

/// What a person should know who makes a pod on a Network that does not serve.
fn not_ready(name: &NetworkName, network: &Network) -> Option<String> {
    let ready = condition(network, READY).filter(|_| is_decided(network) && !is_ready(network))?;
    Some(format!("the pod starts when Network {name} is ready, which it is not: {}", ready.message))
}

/// Namespaces and names of the NetworkAttachmentDefinitions that lead to a Network, the best for pods of a namespace first:
/// where Multus keeps namespaces apart, a pod reaches no other's.
fn names_of(name: &NetworkName, network: &Network, pod_namespace: &str) -> Vec<(String, String)> {
    let status = network.status.iter();
    let published = status.flat_map(|status| &status.network_attachment_definitions);
    let published = published.filter_map(|published| published.split_once('/'));
    let mut names: Vec<(String, String)> =
        published.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())).collect();
    let own = (name.namespace().to_owned(), name.name().to_owned());
    if !names.contains(&own) {
        names.push(own.clone());
    }
    names.sort_by_key(|known| (known.0 != pod_namespace, *known != own, known.clone()));
    names
}

/// How the Network is served that a NetworkAttachmentDefinition leads to; none where it is not Knap's.
fn led_to(view: &View, namespace: &str, name: &str) -> Option<Arc<Served>> {
    let published = format!("{namespace}/{name}");
    let candidates = concerned(&ObjectName::namespaced(namespace, name));
    let mut networks = candidates.iter().filter_map(|network| view.networks.get(network));
    let leads = |network: &Arc<Network>| {
        let status = network.status.iter();
        status.flat_map(|status| &status.network_attachment_definitions).any(|known| *known == published)
    };
    let network = networks.find(leads)?;
    let class = class_named(view, class_name(&network)?).ok()?;
    Some(Arc::new(Served { class, ipam: network.spec.ipam }))
}

fn add(path: &str, value: &Value) -> Value {
    json!({ "op": "add", "path": path, "value": value })
}

#[cfg(test)]
mod tests;
