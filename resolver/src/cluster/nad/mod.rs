//! NetworkAttachmentDefinitions: what leads pods and virtual machines to a Network, kept as they have to be.

mod known;
mod thin;

use std::collections::BTreeSet;
use std::sync::Arc;

use knap_api::{Network, NetworkAttachmentDefinition};
use knap_core::{Class, NetworkRef};
use kube::ResourceExt;
use serde_json::json;

pub(crate) use self::thin::{concerned, projected_name};

use self::known::{Known, State};
use crate::provision::{Published, Subject, Trouble};
use crate::store::kubernetes::KubernetesStore;
use crate::store::{Labels, ObjectName, Preconditions, Store, StoreError};
use crate::translate;
use crate::view::{LabelMap, View};

/// Makes, heals and removes them. Only the leader does.
pub(super) struct Definitions {
    store: KubernetesStore,
    view: Arc<View>,
    known: Arc<Known>,
}

/// What came of one definition.
type Brought = Result<Result<(), Trouble>, StoreError>;

impl Definitions {
    /// And the task that follows what is there.
    pub(super) fn new(store: KubernetesStore, view: Arc<View>) -> (Self, impl Future<Output = ()> + Send) {
        let known = Arc::new(Known::new());
        let follow = known::follow(store.clone(), Arc::clone(&view), Arc::clone(&known));
        (Self { store, view, known }, follow)
    }

    /// Has a Network's definitions be as they should.
    pub(super) async fn publish(&self, subject: &Subject<'_>) -> Result<Option<Published>, StoreError> {
        let shared = subject.intent.shared_with.is_some() && subject.class.allow_sharing;
        let wanted = thin::definitions(subject, &self.projecting(shared));
        self.bring_all(&subject.intent.owner, &wanted).await
    }

    /// Has a Network's definitions stay as they were published last. Where the class that served it is gone, what they have pods
    /// ask for is known from themselves alone.
    pub(super) async fn keep(
        &self,
        network: &Network,
        class: Option<&Class>,
    ) -> Result<Option<Published>, StoreError> {
        let found = self.known.of(&ObjectName::of(network));
        let resource_name = match class {
            Some(class) => class.resource_name.as_ref(),
            // Its own says it, as long as that is there; others are other namespaces'.
            None => {
                let own = found.iter().find(|found| found.namespace() == network.namespace());
                own.or(found.first()).and_then(|one| thin::resource_of(one))
            }
        };
        let recorded = network.status.iter().flat_map(|status| &status.network_attachment_definitions);
        let there = found.iter().map(|found| ObjectName::of(&**found).to_string()).chain(recorded.cloned());
        let owner = translate::network_ref(network);
        let shares = network.spec.shared_with.is_some() && class.is_none_or(|class| class.allow_sharing);
        let projecting = self.projecting(shares);
        let resource_name = resource_name.map(String::as_str);
        let wanted = thin::kept(&owner, resource_name, &projecting, &there.collect());
        self.bring_all(&owner, &wanted).await
    }

    /// Namespaces that take definitions of a Network. Most are not shared, and there may be many namespaces.
    fn projecting(&self, shared: bool) -> Vec<(String, Arc<LabelMap>)> {
        if shared { self.view.namespaces_labelled(knap_api::PROJECT_LABEL, "true") } else { Vec::new() }
    }

    /// Has these be all that lead to a Network.
    async fn bring_all(
        &self,
        owner: &NetworkRef,
        wanted: &[NetworkAttachmentDefinition],
    ) -> Result<Option<Published>, StoreError> {
        match self.known.state() {
            State::Unread => return Ok(None),
            State::NotServed => return Ok(Some(not_served())),
            State::Current => {}
        }
        let network = ObjectName::namespaced(&owner.namespace, &owner.name);
        let names: BTreeSet<ObjectName> = wanted.iter().map(ObjectName::of).collect();
        let mut published = Published::default();
        for definition in wanted {
            match self.bring(&network, definition).await {
                Ok(Ok(())) => published.names.push(ObjectName::of(definition).to_string()),
                // The own one is what matters most, and is the first.
                Ok(Err(trouble)) => published.trouble = published.trouble.or(Some(trouble)),
                Err(StoreError::Unavailable { .. }) if self.is_gone().await => return Ok(Some(not_served())),
                Err(error) => return Err(error),
            }
        }
        for obsolete in self.known.of(&network) {
            if !names.contains(&ObjectName::of(&*obsolete)) {
                self.remove(&obsolete).await?;
            }
        }
        published.names.sort();
        Ok(Some(published))
    }

    /// Removes what leads to a Network.
    pub(super) async fn withdraw(&self, network: &ObjectName) -> Result<(), StoreError> {
        let found = match self.known.state() {
            State::NotServed => return Ok(()),
            State::Current => self.known.of(network),
            State::Unread => match self.listed(network).await {
                Err(StoreError::Unavailable { .. }) if self.is_gone().await => return Ok(()),
                listed => listed?,
            },
        };
        for definition in found {
            self.remove(&definition).await?;
        }
        Ok(())
    }

    /// Removes what leads to Networks that are gone. Goes on past errors, and returns the first.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        let mut first_error = Ok(());
        for network in self.known.networks() {
            if self.view.networks.get(&network).is_some() {
                continue;
            }
            // The view may be behind.
            let swept = match self.store.get::<Network>(&network).await {
                Ok(Some(_)) => Ok(()),
                Ok(None) => self.withdraw(&network).await,
                Err(error) => Err(error),
            };
            first_error = first_error.and(swept);
        }
        first_error
    }

    /// One definition as it should be, unless somebody else has its name.
    async fn bring(&self, network: &ObjectName, wanted: &NetworkAttachmentDefinition) -> Brought {
        let name = ObjectName::of(wanted);
        let Some(found) = self.known.get(&name) else { return self.make(network, wanted).await };
        if let Some(trouble) = self.taken(network, &found) {
            return Ok(Err(trouble));
        }
        if !thin::has_drifted(&found, wanted) {
            return Ok(Ok(()));
        }
        // This very object: not one of somebody else's, made in its place a moment ago.
        let mut wanted = wanted.clone();
        wanted.metadata.uid = found.uid();
        tracing::info!(definition = %name, "put right a NetworkAttachmentDefinition");
        self.apply(network, &wanted, true).await
    }

    async fn make(&self, network: &ObjectName, wanted: &NetworkAttachmentDefinition) -> Brought {
        let name = ObjectName::of(wanted);
        // Without force: what somebody else has just made of this name says something else, and is left alone.
        match self.apply(network, wanted, false).await {
            Err(StoreError::Changed { .. }) => {}
            made => return made,
        }
        let Some(found) = self.store.get::<NetworkAttachmentDefinition>(&name).await? else {
            return Err(StoreError::Changed { kind: wanted.kind.clone(), name });
        };
        let trouble = self.taken(network, &found);
        let mut wanted = wanted.clone();
        wanted.metadata.uid = found.uid();
        self.known.insert(found);
        match trouble {
            Some(trouble) => Ok(Err(trouble)),
            None => self.apply(network, &wanted, true).await,
        }
    }

    async fn apply(
        &self,
        network: &ObjectName,
        wanted: &NetworkAttachmentDefinition,
        force: bool,
    ) -> Brought {
        let name = ObjectName::of(wanted);
        let applied = match self.store.apply(wanted, force).await {
            Err(StoreError::Refused { reason, .. }) => {
                let message = format!(
                    "the API server refuses NetworkAttachmentDefinition {name}: {reason}; pods can't attach to Network \
                     {network} by it until that is mended"
                );
                return Ok(Err(Trouble { reason: "Refused", message }));
            }
            applied => applied?,
        };
        let applied = if thin::has_foreign_resource(&applied, wanted) {
            let annotation = NetworkAttachmentDefinition::RESOURCE_NAME_ANNOTATION;
            let without = json!({
                "metadata": { "uid": applied.metadata.uid, "annotations": { annotation: null } }
            });
            self.store.merge(&name, &without).await?
        } else {
            applied
        };
        self.known.insert(applied);
        Ok(Ok(()))
    }

    /// Why a definition that is there can't become this Network's.
    fn taken(&self, network: &ObjectName, found: &NetworkAttachmentDefinition) -> Option<Trouble> {
        let name = ObjectName::of(found);
        let message = match thin::leads_to(found) {
            None if thin::is_knaps(found) => return None,
            Some(owner) if owner == *network || self.view.networks.get(&owner).is_none() => return None,
            Some(owner) => format!(
                "NetworkAttachmentDefinition {name} leads to Network {owner} already: give one of the two another name"
            ),
            None => format!(
                "NetworkAttachmentDefinition {name} is not Knap's, and is left as it is: remove or rename it, or give \
                 the Network another name; then Network {network} gets its own by itself"
            ),
        };
        Some(Trouble { reason: "NameTaken", message })
    }

    async fn remove(&self, definition: &NetworkAttachmentDefinition) -> Result<(), StoreError> {
        let name = ObjectName::of(definition);
        match self
            .store
            .delete::<NetworkAttachmentDefinition>(&name, &Preconditions::unchanged(definition))
            .await
        {
            Ok(()) => tracing::info!(definition = %name, "removed a NetworkAttachmentDefinition"),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        self.known.remove(&name);
        Ok(())
    }

    async fn listed(
        &self,
        network: &ObjectName,
    ) -> Result<Vec<Arc<NetworkAttachmentDefinition>>, StoreError> {
        let labels = [
            (knap_api::MANAGED_BY_LABEL.to_owned(), Some(knap_api::MANAGED_BY.to_owned())),
            (knap_api::NETWORK_NAMESPACE_LABEL.to_owned(), network.namespace.clone()),
            (knap_api::NETWORK_NAME_LABEL.to_owned(), Some(network.name.clone())),
        ];
        let listed = self.store.list::<NetworkAttachmentDefinition>(&Labels::from(labels)).await?;
        Ok(listed.into_iter().map(Arc::new).collect())
    }

    /// Whether the kind has gone from the cluster.
    async fn is_gone(&self) -> bool {
        let gone = matches!(known::is_served(&self.store.client()).await, Ok(false));
        if gone {
            self.known.not_served();
        }
        gone
    }
}

fn not_served() -> Published {
    let message = "the cluster has no NetworkAttachmentDefinitions, so pods and virtual machines can't name the Network: \
                   install Multus, or its CRD alone; attachments that reach the resolver are served meanwhile";
    let trouble = Trouble { reason: "MultusMissing", message: message.to_owned() };
    Published { names: Vec::new(), trouble: Some(trouble) }
}
