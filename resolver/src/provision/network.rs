//! One Network's way through the pipeline.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use knap_api::{Network, Reservation};
use knap_core::{Class, Decision, Grant, NetworkIntent, Plan};
use knap_protocol::NetworkName;
use kube::ResourceExt;

use super::Provisioner;
use super::choose::{Standing, choose, class_by_name};
use super::error::ProvisionError;
use super::fetch::Fetched;
use super::granted::Granted;
use super::news::news;
use super::retire::{Retired, count_leases, keep, retire};
use super::status::{
    Provisioned, class_name, is_decided, is_provisioned, is_ready, status_of, without_counts,
};
use super::surroundings::{Published, Subject, Surroundings};
use super::take::Taker;
use super::work::{Care, Due};
use crate::store::{Store, StoreError};
use crate::translate;

/// How far it came with a Network.
pub(super) enum Looked {
    /// Nothing is left to do.
    Done,
    /// It was a claim, and has all it needs; whether all is said of it was not looked at.
    Settled(Arc<Network>),
}

/// What serves a Network.
pub(super) struct Served {
    intent: NetworkIntent,
    class: Class,
    grant: Grant,
    pub(super) plan: Plan,
    /// Whether attachments would be made otherwise than they have been, if there were any.
    moved: bool,
    /// Whether it did not have all of that before.
    taken: bool,
    /// What it had and does not need any more.
    pub(super) unused: Vec<Reservation>,
}

impl Served {
    fn subject(&self) -> Subject<'_> {
        Subject {
            intent: &self.intent,
            class: &self.class,
            resource_name: self.plan.resource_name.as_deref(),
        }
    }
}

impl<S: Store, A: Surroundings> Provisioner<S, A> {
    /// Looks at one Network. An error is the store's; all others are the Network's status.
    pub(super) async fn network(&self, due: &Due, fetched: &mut Fetched) -> Result<Looked, StoreError> {
        let Some(known) = self.view.networks.get(&due.name) else { return Ok(Looked::Done) };
        if known.metadata.deletion_timestamp.is_some() {
            return self.finish(&known).await.map(|()| Looked::Done);
        }
        // What it would get may be the cluster's own. Once that is known, every Network is looked at.
        if !self.view.knows_cluster_networks() {
            return Ok(Looked::Done);
        }
        // Before anything is reserved for it.
        let Some(network) = self.hold(&known).await? else { return Ok(Looked::Done) };
        let served = match self.provision(&network, fetched).await {
            Err(ProvisionError::Store(error)) => return Err(error),
            served => served,
        };
        let settled = |served: &Served| !served.taken && served.unused.is_empty();
        if due.care == Care::Claim && is_ready(&known) && served.as_ref().is_ok_and(settled) {
            return Ok(Looked::Settled(known));
        }
        let (outcome, published) = match self.settle(&network, served, fetched).await {
            Err(ProvisionError::Store(error)) => return Err(error),
            // Whatever comes of that, it is said why the Network is not served.
            Err(error) => (Err(error), self.keep_published(&network, fetched).await),
            Ok(served) => {
                let published = self.surroundings.publish(&served.subject()).await?;
                let Served { grant, plan, .. } = served;
                (Ok(Provisioned { grant, plan }), Ok(published))
            }
        };
        let told = published.as_ref().ok().and_then(Option::as_ref);
        self.write_status(&network, &outcome, told, fetched, due.care == Care::Upkeep).await?;
        published.map(|_| Looked::Done)
    }

    /// Attachments end by what the Network was made known by, so that is kept in order also while it is not served. One that never
    /// was is not made known.
    async fn keep_published(
        &self,
        network: &Network,
        fetched: &Fetched,
    ) -> Result<Option<Published>, StoreError> {
        if !was_granted(network) {
            return Ok(None);
        }
        let status = network.status.as_ref();
        let class = class_name(network).and_then(|name| class_by_name(name, fetched));
        // Given to another provider it says nothing about what was published.
        let class = class
            .filter(|class| status.is_some_and(|status| status.provider.as_ref() == Some(&class.provider)));
        self.surroundings.keep(network, class.as_ref()).await
    }

    /// What serves a Network, before it is recorded that this does: that moves what attachments use, and the view may not know
    /// yet of one that was made a moment ago. Where it does not, all stays as it is.
    async fn settle(
        &self,
        network: &Network,
        served: Result<Served, ProvisionError>,
        fetched: &mut Fetched,
    ) -> Result<Served, ProvisionError> {
        let unused = self.unused(network, &served, fetched);
        let leases = match &served {
            // Whoever attaches meanwhile sees that it is being given up.
            _ if !unused.is_empty() => self.release(network, unused, fetched).await?,
            Ok(served) if served.moved => {
                count_leases(&self.store, &network.uid().unwrap_or_default()).await?
            }
            _ => 0,
        };
        if leases == 0 { served } else { self.serve(network, leases, fetched).await }
    }

    /// What a Network has and does not need any more; of one that can't be served, all that it has not been granted: others
    /// wait for that, and no quota counts it.
    pub(super) fn unused(
        &self,
        network: &Network,
        served: &Result<Served, ProvisionError>,
        fetched: &Fetched,
    ) -> Vec<Reservation> {
        let uid = network.uid().unwrap_or_default();
        match (served, Granted::of(network)) {
            (Ok(served), _) => served.unused.clone(),
            (Err(_), Ok(granted)) if self.view.leases.count_of_uid(&uid) == 0 => {
                let held = fetched.reserved.of(&uid).filter(|(thing, _)| !granted.includes(thing));
                held.map(|(_, held)| Reservation::clone(held)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The steps from a spec to what serves it.
    pub(super) async fn provision(
        &self,
        network: &Network,
        fetched: &mut Fetched,
    ) -> Result<Served, ProvisionError> {
        let leases = self.attachments(network).await?;
        self.serve(network, leases, fetched).await
    }

    /// The same, with so many attachments.
    async fn serve(
        &self,
        network: &Network,
        leases: u32,
        fetched: &mut Fetched,
    ) -> Result<Served, ProvisionError> {
        let intent = translate::network(network).map_err(ProvisionError::Spec)?;
        if intent.sticky && !self.rules.sticky {
            return Err(ProvisionError::StickyWithoutKubernetes);
        }
        let granted = Granted::of(network)?;
        let labels = self.view.namespace_labels(&self.store, &intent.owner.namespace).await?;
        let standing = Standing {
            granted: &granted,
            provisioned: is_provisioned(network) || leases > 0,
            leases,
            namespace_labels: labels.as_deref(),
        };
        let Decision { class, provider, needs } = choose(&intent, fetched, &standing)?;
        check_addressing(&granted, needs.subnets.is_empty(), leases)?;
        let mut taker = Taker {
            store: &self.store,
            changes: self.told.then_some(&*self.view),
            cluster: &fetched.cluster_networks,
            reserved: &mut fetched.reserved,
            intent: &intent,
            class: &class,
            needs: &needs,
            granted: &granted,
            leases,
            used: Vec::new(),
            taken: false,
        };
        let foreseen = taker.foresee()?;
        if leases == 0 {
            plan(&intent, &class, provider, &foreseen)?;
        }
        let grant = taker.take().await?;
        let (used, taken) = (std::mem::take(&mut taker.used), taker.taken);
        let mut unused = Vec::new();
        if leases == 0 {
            let held = fetched.reserved.of(&intent.owner.uid).map(|(_, held)| held);
            let left = held.filter(|held| !used.contains(&held.name_any()));
            unused.extend(left.map(|held| Reservation::clone(held)));
        }
        let plan = plan(&intent, &class, provider, &grant)?;
        let moved = leases == 0 && granted.mac_code.is_some() && !granted.is(&class, &grant);
        Ok(Served { class: class.into_owned(), intent, grant, plan, moved, taken, unused })
    }

    /// How many leases it has. Before anything is moved that attachments use they are counted in the store, since the view may
    /// not know yet of one that was made a moment ago.
    async fn attachments(&self, network: &Network) -> Result<u32, StoreError> {
        let uid = network.uid().unwrap_or_default();
        let known = self.view.leases.count_of_uid(&uid);
        if known > 0 || !was_granted(network) || is_decided(network) {
            return Ok(known);
        }
        count_leases(&self.store, &uid).await
    }

    async fn write_status(
        &self,
        network: &Network,
        outcome: &Result<Provisioned, ProvisionError>,
        published: Option<&Published>,
        fetched: &mut Fetched,
        counts: bool,
    ) -> Result<(), StoreError> {
        let uid = network.uid().unwrap_or_default();
        let name = NetworkName::new(&network.namespace().unwrap_or_default(), &network.name_any()).ok();
        let slots = name.map(|name| self.view.leases.slots_of(&name, &uid)).unwrap_or_default();
        let mut status = status_of(network, outcome, published, &slots, Timestamp::now());
        if let Ok(provisioned) = outcome {
            status.nodes = fetched.nodes(&self.view, network, &provisioned.plan.class);
        }
        let before = network.status.clone().unwrap_or_default();
        let same = if counts { status == before } else { without_counts(&status) == without_counts(&before) };
        if same {
            return Ok(());
        }
        let mut changed = network.clone();
        changed.status = Some(status);
        let written = match self.store.update_status(&changed).await {
            Ok(written) => written,
            // The view is behind; what it is behind of brings this Network up again.
            Err(StoreError::Changed { .. } | StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => {
                // It may have been written all the same.
                fetched.note_class(&changed);
                return Err(error);
            }
        };
        tell(network, &written, outcome);
        for news in news(network, &written) {
            self.surroundings.tell(&written, news);
        }
        fetched.note_written(network, written);
        Ok(())
    }

    /// Gives up what the Network had and does not use any more, but for leases that turn up. How many did.
    pub(super) async fn release(
        &self,
        network: &Network,
        unused: Vec<Reservation>,
        fetched: &mut Fetched,
    ) -> Result<u32, StoreError> {
        let uid = network.uid().unwrap_or_default();
        match retire(&self.store, &uid, unused.clone()).await? {
            Retired::Gone => {
                for reservation in &unused {
                    fetched.reserved.forget(reservation);
                }
                Ok(0)
            }
            Retired::Draining { leases } => {
                keep(&self.store, unused).await?;
                Ok(leases)
            }
        }
    }
}

/// Whether attachments can have been made.
fn was_granted(network: &Network) -> bool {
    let segment = network.status.as_ref().and_then(|status| status.segment.as_ref());
    segment.is_some_and(|segment| segment.mac_code.is_some())
}

/// Addresses can't come or go under running attachments.
fn check_addressing(granted: &Granted, unaddressed: bool, leases: u32) -> Result<(), ProvisionError> {
    let was_unaddressed = granted.subnets.is_empty();
    if leases == 0 || granted.mac_code.is_none() || was_unaddressed == unaddressed {
        return Ok(());
    }
    let word = |unaddressed| if unaddressed { "none of Knap's" } else { "Knap's" }.to_owned();
    Err(ProvisionError::Fixed {
        what: "the addressing",
        was: word(was_unaddressed),
        becomes: word(unaddressed),
        leases,
    })
}

fn plan(
    intent: &NetworkIntent,
    class: &Class,
    provider: &dyn knap_core::Provider,
    grant: &Grant,
) -> Result<Plan, ProvisionError> {
    provider
        .plan(intent, class, grant)
        .map_err(|source| ProvisionError::Plan { class: class.name.clone(), source })
}

/// Says in the log what a person would want to know.
fn tell(before: &Network, now: &Network, outcome: &Result<Provisioned, ProvisionError>) {
    let network = super::display_name(now);
    match outcome {
        Ok(provisioned) => {
            let subnets = provisioned.grant.layout.subnets();
            let subnets = subnets.iter().map(|subnet| subnet.cidr.to_string()).collect::<Vec<_>>().join(",");
            if !is_ready(before) {
                tracing::info!(%network, class = provisioned.plan.class, %subnets, "network is ready");
            }
        }
        Err(error) => tracing::warn!(%network, reason = error.reason(), %error, "network is not ready"),
    }
}
