//! A resolver's store and controller, in memory.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use knap_api::{Network, NetworkClass};
use knap_core::NodeFacts;
use kube::ResourceExt;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::PlanError;
use super::example::Example;
use super::found::Found;
use super::replica;
use super::report::{ClassPlan, NetworkPlan, Report};
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
    _tasks: JoinSet<()>,
}

impl World {
    /// Provisions what was found first, since it was there first, then the subjects in their order.
    pub(super) async fn of(mut found: Found, subjects: &[Manifest]) -> Result<Self, PlanError> {
        found.without(subjects);
        let store = EmbeddedStore::in_memory()?;
        replica::copy(&store, &found).await?;
        for manifest in subjects {
            match manifest {
                Manifest::Namespace(object) => drop(store.create(object.as_ref()).await?),
                Manifest::Node(object) => replica::create_node(&store, object).await?,
                Manifest::NetworkClass(object) => drop(store.create(object.as_ref()).await?),
                Manifest::Network(_) => {}
            }
        }
        let (view, mut tasks) = View::follow(&store);
        view.learn_cluster_networks("found", found.cluster_networks.clone());
        let (first_pass, looked) = oneshot::channel();
        let provisioner = Provisioner::new(store.clone(), Arc::clone(&view), found.rules);
        tasks.spawn(provisioner.run(first_pass));
        // What was decided before is looked at before anything new comes.
        looked.await.map_err(|_| PlanError::Ended)?;
        let world = Self { store, view, _tasks: tasks };
        for network in found.networks.iter().filter(|network| network.status.is_none()) {
            world.put(network).await?;
        }
        for manifest in subjects {
            if let Manifest::Network(network) = manifest {
                world.put(network).await?;
            }
        }
        Ok(world)
    }

    /// Makes a Network, or changes the one of its name, and waits for the decision.
    async fn put(&self, network: &Network) -> Result<(), PlanError> {
        let name = ObjectName::of(network);
        match self.store.create(network).await {
            Ok(_) => {}
            Err(StoreError::AlreadyExists { .. }) => self.change(&name, network).await?,
            Err(error) => return Err(error.into()),
        }
        self.decided(&name).await
    }

    async fn change(&self, name: &ObjectName, wanted: &Network) -> Result<(), PlanError> {
        loop {
            let Some(mut network) = self.store.get::<Network>(name).await? else { return Ok(()) };
            network.spec = wanted.spec.clone();
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
        for manifest in subjects {
            match manifest {
                Manifest::NetworkClass(class) => report.classes.push(ClassPlan::of(class)),
                Manifest::Network(network) => {
                    let name = ObjectName::of(network.as_ref());
                    if let Some(network) = self.store.get::<Network>(&name).await? {
                        report.networks.push(self.network(&network, &node).await?);
                    }
                }
                Manifest::Namespace(_) | Manifest::Node(_) => {}
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
