//! What is there already, as far as a plan depends on it: the manifests of a folder, or the objects of a cluster.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Namespace, Node};
use knap_api::{NETWORK_UID_LABEL, Network, NetworkClass, NetworkLease, Reservation};
use knap_core::ClusterNetwork;
use kube::ResourceExt;

use crate::manifests::{Contents, Manifest};
use crate::provision::Rules;
use crate::store::{Kind, Labels, ObjectName, Store, StoreError};

/// What is there already.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// As `serve` has them there: without Kubernetes there is nobody to keep an address for.
    pub(super) rules: Rules,
    /// Whether what is refused never comes to be: a cluster asks before it takes an object, a folder does not.
    pub(super) asks: bool,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) nodes: Vec<Node>,
    /// The eldest first: what it says of a wire stands.
    pub(super) classes: Vec<NetworkClass>,
    /// The eldest first: it was decided before the others.
    pub(super) networks: Vec<Network>,
    /// All of them, since what one Network has no other gets.
    pub(super) reservations: Vec<Reservation>,
    /// Of the Networks that are to be changed, and of all where a class is: attachments forbid some changes.
    pub(super) leases: Vec<NetworkLease>,
    /// Beside those that Nodes name.
    pub(super) cluster_networks: Vec<ClusterNetwork>,
}

impl Found {
    /// What a folder says; nothing of it was ever decided.
    pub(super) fn in_folder(contents: Contents) -> Self {
        let mut found = Self::default();
        for (_, manifest) in contents.manifests {
            match manifest {
                Manifest::Namespace(object) => found.namespaces.push(*object),
                Manifest::Node(object) => found.nodes.push(*object),
                Manifest::NetworkClass(object) => found.classes.push(*object),
                Manifest::Network(object) => found.networks.push(*object),
            }
        }
        found
    }

    /// What a cluster has, with all that was decided there.
    pub(super) async fn in_store<S: Store>(store: &S, subjects: &[Manifest]) -> Result<Self, StoreError> {
        let all = Labels::new();
        let networks = eldest_first(store.list::<Network>(&all).await?);
        let leases = if subjects.iter().any(|subject| matches!(subject, Manifest::NetworkClass(_))) {
            store.list::<NetworkLease>(&all).await?
        } else {
            let changed = subjects.iter().filter(|subject| matches!(subject, Manifest::Network(_)));
            let changed: BTreeSet<ObjectName> = changed.map(Manifest::name).collect();
            let mut leases = Vec::new();
            for network in networks.iter().filter(|network| changed.contains(&ObjectName::of(*network))) {
                let labels = Labels::from([(NETWORK_UID_LABEL.to_owned(), network.uid())]);
                leases.extend(store.list::<NetworkLease>(&labels).await?);
            }
            leases
        };
        Ok(Self {
            rules: Rules { sticky: true },
            asks: true,
            namespaces: store.list(&all).await?,
            nodes: store.list(&all).await?,
            classes: eldest_first(store.list(&all).await?),
            reservations: store.list(&all).await?,
            networks,
            leases,
            cluster_networks: Vec::new(),
        })
    }

    /// Leaves out what these manifests replace; classes, and Networks that were decided, are changed instead.
    pub(super) fn without(&mut self, manifests: &[Manifest]) {
        let replaced: BTreeSet<_> =
            manifests.iter().map(|manifest| (manifest.kind(), manifest.name())).collect();
        let stays = |kind, name| !replaced.contains(&(kind, name));
        self.namespaces.retain(|object| stays("Namespace", ObjectName::of(object)));
        self.nodes.retain(|object| stays("Node", ObjectName::of(object)));
        self.networks.retain(|object| object.status.is_some() || stays("Network", ObjectName::of(object)));
    }
}

fn eldest_first<K: Kind>(mut objects: Vec<K>) -> Vec<K> {
    objects.sort_by_key(|object| (object.creation_timestamp().map(|created| created.0), object.uid()));
    objects
}
