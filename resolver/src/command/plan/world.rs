//! A resolver's store and controller, in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use knap_api::{Network, NetworkClass};
use knap_core::{ClusterNetwork, NodeFacts};
use kube::ResourceExt;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::PlanError;
use super::example::Example;
use super::found::Found;
use super::replica;
use super::report::{ClassPlan, NetworkPlan, Refused, Report};
use crate::admission::{Policy, Question, RawAttachments, Subject, removed_in_use};
use crate::manifests::{BrokenManifest, Manifest};
use crate::provision::{Provisioner, built_in_by_name, is_decided};
use crate::store::embedded::EmbeddedStore;
use crate::store::{Labels, ObjectName, Store, StoreError};
use crate::translate;
use crate::view::View;

/// How long the controller may take for one Network.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look whether it is done.
const LOOK: Duration = Duration::from_millis(1);
/// The node of an example where no node is known.
const EXAMPLE_NODE: &str = "example-node";

pub(super) struct World {
    store: EmbeddedStore,
    view: Arc<View>,
    policy: Policy,
    /// Whether what is refused never comes to be.
    asks: bool,
    /// The classes among the subjects, in their order.
    classes: Vec<ClassPlan>,
    /// Changes that a webhook would refuse, though the controller makes something of them.
    refused: HashMap<ObjectName, Refused>,
    _followers: JoinSet<()>,
    controller: JoinSet<()>,
}

impl World {
    /// Provisions what was found first, since it was there first, then the subjects in their order, and classes before Networks.
    pub(super) async fn of(mut found: Found, subjects: &[Manifest]) -> Result<Self, PlanError> {
        found.without(subjects);
        let store = EmbeddedStore::in_memory()?;
        replica::copy(&store, &found).await?;
        for manifest in subjects {
            match manifest {
                Manifest::Namespace(object) => drop(store.create(object.as_ref()).await?),
                Manifest::Node(object) => replica::create_node(&store, object).await?,
                Manifest::NetworkClass(_) | Manifest::Network(_) => {}
            }
        }
        let (view, followers) = look(&store, &found.cluster_networks).await;
        let mut world = Self {
            store,
            view,
            policy: Policy { rules: found.rules, raw_attachments: RawAttachments::default() },
            asks: found.asks,
            classes: Vec::new(),
            refused: HashMap::new(),
            _followers: followers,
            controller: JoinSet::new(),
        };
        world.control().await?;
        for network in found.networks.iter().filter(|network| network.status.is_none()) {
            world.put(network).await?;
        }
        let classes: Vec<&NetworkClass> = subjects
            .iter()
            .filter_map(|manifest| match manifest {
                Manifest::NetworkClass(class) => Some(class.as_ref()),
                _ => None,
            })
            .collect();
        if !classes.is_empty() {
            // They are held against what was served before any of them.
            world.controller.shutdown().await;
            (world.view, world._followers) = look(&world.store, &found.cluster_networks).await;
            for class in classes {
                world.put_class(class).await?;
            }
            world.control().await?;
        }
        for manifest in subjects {
            if let Manifest::Network(network) = manifest {
                world.put(network).await?;
            }
        }
        Ok(world)
    }

    /// Lets a controller run, and waits until it has looked at all that is there.
    async fn control(&mut self) -> Result<(), PlanError> {
        let (first_pass, looked) = oneshot::channel();
        let provisioner = Provisioner::new(self.store.clone(), Arc::clone(&self.view), self.policy.rules);
        self.controller.spawn(provisioner.run(first_pass));
        // What was decided before is looked at before anything new comes.
        looked.await.map_err(|_| PlanError::Ended)
    }

    /// Makes a class, or changes the one of its name, as far as a webhook lets it come to be.
    async fn put_class(&mut self, wanted: &NetworkClass) -> Result<(), PlanError> {
        let name = ObjectName::of(wanted);
        let old = self.store.get::<NetworkClass>(&name).await?;
        let new = match &old {
            None => wanted.clone(),
            Some(old) => {
                let mut new = old.clone();
                new.spec = wanted.spec.clone();
                new.metadata.labels.clone_from(&wanted.metadata.labels);
                new.metadata.annotations.clone_from(&wanted.metadata.annotations);
                new
            }
        };
        let (subject, question) = (Subject::NetworkClass, Question::about(old.as_ref(), &new)?);
        let read = self.policy.read(&self.store, &self.view, subject, &question).await?;
        let verdict = self.policy.decide(&self.view, subject, &question, &read).await;
        let never = self.asks && verdict.refused.is_some();
        self.classes.push(ClassPlan::of(&new, verdict));
        if never {
            return Ok(());
        }
        let written = match old {
            None => self.store.create(&new).await?,
            Some(_) => self.store.update(&new).await?,
        };
        let known = |class: &Arc<NetworkClass>| class.resource_version() == written.resource_version();
        self.view.classes.until(|classes| classes.get(&name).filter(known)).await;
        Ok(())
    }

    /// Makes a Network, or changes the one of its name, and waits for the decision.
    async fn put(&mut self, network: &Network) -> Result<(), PlanError> {
        let name = ObjectName::of(network);
        match self.store.create(network).await {
            Ok(_) => {}
            Err(StoreError::AlreadyExists { .. }) => self.change(&name, network).await?,
            Err(error) => return Err(error.into()),
        }
        self.decided(&name).await
    }

    async fn change(&mut self, name: &ObjectName, wanted: &Network) -> Result<(), PlanError> {
        loop {
            let Some(old) = self.store.get::<Network>(name).await? else { return Ok(()) };
            let mut network = old.clone();
            network.spec = wanted.spec.clone();
            if let Some(refused) = removed_in_use(&self.view, &old, &network) {
                self.refused.insert(name.clone(), refused.into());
                return Ok(());
            }
            match self.store.update(&network).await {
                // The controller has written its status in between.
                Err(StoreError::Changed { .. }) => {}
                updated => return Ok(updated.map(drop)?),
            }
        }
    }

    /// Waits until the controller has said what becomes of a Network.
    async fn decided(&self, name: &ObjectName) -> Result<(), PlanError> {
        let decided = async {
            loop {
                let network = self.store.get::<Network>(name).await?;
                if network.is_none_or(|network| is_decided(&network)) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, decided).await.unwrap_or_else(|_| Err(PlanError::Undecided(name.to_string())))
    }

    /// What became of the subjects.
    pub(super) async fn report(
        &self,
        subjects: &[Manifest],
        broken: Vec<BrokenManifest>,
        node: Option<&str>,
    ) -> Result<Report, PlanError> {
        let mut report = Report::default();
        report.broken_manifests.extend(broken);
        let node = self.node(node).await?;
        report.classes.clone_from(&self.classes);
        for manifest in subjects {
            if let Manifest::Network(network) = manifest {
                let name = ObjectName::of(network.as_ref());
                if let Some(network) = self.store.get::<Network>(&name).await? {
                    report.networks.push(self.network(&network, &node).await?);
                }
            }
        }
        Ok(report)
    }

    /// The node asked for, or the first that is known, or one that nothing is known of.
    async fn node(&self, name: Option<&str>) -> Result<NodeFacts, PlanError> {
        let nodes = self.store.list::<Node>(&Labels::new()).await?;
        let first = nodes.first().map(ResourceExt::name_any);
        let name = name.map(str::to_owned).or(first).unwrap_or_else(|| EXAMPLE_NODE.to_owned());
        let labels = self.view.node_labels(&self.store, &name).await?.map(|labels| labels.as_ref().clone());
        Ok(NodeFacts { name, labels })
    }

    async fn network(&self, network: &Network, node: &NodeFacts) -> Result<NetworkPlan, PlanError> {
        let mut plan = NetworkPlan::of(network);
        if let Some(refused) = self.refused.get(&ObjectName::of(network)) {
            plan.refused = Some(refused.clone());
        }
        let Some(class) = plan.class.clone() else { return Ok(plan) };
        let found = self.store.get::<NetworkClass>(&ObjectName::cluster(class.as_str())).await?;
        plan.built_in = found.is_none();
        let class = match found {
            Some(class) => translate::class(&class).ok(),
            None => built_in_by_name(&class),
        };
        if let Some(class) = class.filter(|_| plan.refused.is_none()) {
            plan.fabric = Some(class.fabric.clone());
            plan.example = Some(Example::of(network, &class, node));
        }
        Ok(plan)
    }
}

/// A picture of all that is in a store now.
async fn look(store: &EmbeddedStore, cluster: &[ClusterNetwork]) -> (Arc<View>, JoinSet<()>) {
    let (view, followers) = View::follow(store);
    view.learn_cluster_networks("found", cluster.to_vec());
    view.current().await;
    (view, followers)
}
