//! A pass of the controller in which nothing happens: what would become of a Network, by the very steps that serve it.
//!
//! So admission and controllers can't disagree about one picture of the cluster. The picture may be old: what slips past
//! ends as the controller has it.

mod supposed;

use std::collections::HashMap;
use std::sync::Arc;

use knap_api::{Network, NetworkClass};
use kube::ResourceExt;

use super::error::ProvisionError;
use super::fetch::Fetched;
use super::{Provisioner, Rules};
use crate::view::{LabelMap, View};
use supposed::Supposed;

/// Labels of namespaces, by name.
pub(crate) type Namespaces = HashMap<String, Arc<LabelMap>>;

/// Networks as they would be provisioned, one after the other, from one moment on.
pub(crate) struct Trial {
    provisioner: Provisioner<Supposed>,
    fetched: Fetched,
}

/// Why a Network would not be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unserved {
    /// As its conditions would have it.
    pub(crate) reason: &'static str,
    /// As its conditions would have it.
    pub(crate) message: String,
    /// Whether that may end without anybody changing the Network, or what serves it.
    pub(crate) may_pass: bool,
}

impl Trial {
    /// From the view as it is, with these namespaces where it does not know them yet.
    pub(crate) fn new(view: &Arc<View>, rules: Rules, namespaces: &Namespaces) -> Self {
        Self::with(view, rules, namespaces, Fetched::new(view))
    }

    /// The same, if these were the classes that there are.
    pub(crate) fn with_classes(
        view: &Arc<View>,
        rules: Rules,
        namespaces: &Namespaces,
        classes: &[Arc<NetworkClass>],
    ) -> Self {
        Self::with(view, rules, namespaces, Fetched::with_classes(view, classes))
    }

    fn with(view: &Arc<View>, rules: Rules, namespaces: &Namespaces, fetched: Fetched) -> Self {
        let store = Supposed::new(Arc::clone(view), namespaces.clone());
        Self { provisioner: Provisioner::on_trial(store, Arc::clone(view), rules), fetched }
    }

    /// From now on as if this Network were deleted: another takes its place.
    pub(crate) fn leave_out(&mut self, network: &Network) {
        let free = self.fetched.leave_out(&self.provisioner.view, network);
        self.provisioner.store.leave_out(&free);
    }

    /// Which class would serve a Network. In the eyes of those that are tried after it, what it would get is taken, and what it
    /// would give up is free.
    pub(crate) async fn network(&mut self, network: &Network) -> Result<String, Unserved> {
        let mut network = network.clone();
        // Before it is created, nobody has given it one; and the empty one is nobody's.
        network.metadata.uid.get_or_insert_default();
        self.try_out(&network).await.map_err(|error| Unserved {
            reason: error.reason(),
            message: error.to_string(),
            may_pass: error.may_pass(),
        })
    }

    async fn try_out(&mut self, network: &Network) -> Result<String, ProvisionError> {
        let served = self.provisioner.provision(network, &mut self.fetched).await;
        let unused = self.provisioner.unused(network, &served, &self.fetched);
        if !unused.is_empty() {
            self.provisioner.release(network, unused, &mut self.fetched).await?;
        }
        served.map(|served| served.plan.class)
    }

    /// Why no Network of a class would be served, where it can't use its wire beside an earlier class.
    pub(crate) fn fabric_conflict(&self, class: &str) -> Option<String> {
        self.fetched.fabric_conflicts.get(class).map(ToString::to_string)
    }

    /// The classes for which that is so.
    pub(crate) fn fabric_conflicts(&self) -> impl Iterator<Item = &str> {
        self.fetched.fabric_conflicts.keys().map(String::as_str)
    }
}

/// The classes of a view, with one put in or replaced.
pub(crate) fn classes_with(view: &View, class: &NetworkClass) -> Vec<Arc<NetworkClass>> {
    let mut classes = view.classes.all();
    classes.retain(|known| known.name_any() != class.name_any());
    classes.push(Arc::new(class.clone()));
    classes
}
