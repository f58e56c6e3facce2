//! PUT: one attachment, from the question to the answer.

use std::sync::Arc;
use std::time::Duration;

use knap_api::{Network, NetworkLease};
use knap_core::{Attachment, LeaseFacts, Mac, NotPermitted, may_attach};
use knap_protocol::{AttachReply, AttachRequest, HostLink, HostLinkKind, NetworkName, PodRef};
use kube::ResourceExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::claimant::Claimant;
use super::lease::Asker;
use super::made::Made;
use super::make::REPEAT;
use super::placement::{Placement, PlacementError};
use super::prepared::{Prepared, refuse_unready};
use super::refusal::Refusal;
use super::wishes::Wishes;
use super::{Attacher, LONGEST_DEADLINE};
use crate::decision::DecisionId;
use crate::fault;
use crate::provision::is_decided;
use crate::store::{ObjectName, Store};

/// How long a Network may be waited for that the controller has not decided about yet.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is kept of a request's time for undoing what it has made, and for telling why.
const WITHDRAWAL: Duration = Duration::from_secs(1);

/// One question, with all that its answer depends on.
pub(super) struct Question<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) placement: &'a Placement,
    pub(super) asker: Asker<'a>,
    pub(super) request: &'a AttachRequest,
    /// For whom the address is kept.
    pub(super) claimant: Option<Claimant>,
    /// No create starts after this.
    pub(super) deadline: Instant,
}

impl<S: Store> Attacher<S> {
    /// Makes an attachment, or finds the one that this attempt made before.
    ///
    /// Dropping the future is safe at any point: what was made by then goes with the DELETE of the same attempt.
    pub async fn attach(
        &self,
        id: &DecisionId,
        asker: Asker<'_>,
        request: &AttachRequest,
    ) -> Result<AttachReply, Refusal> {
        fault::point("attach-received");
        let began = Instant::now();
        let wait = Duration::from_secs(request.deadline_seconds.into()).min(LONGEST_DEADLINE);
        let deadline = began + wait;
        let mut pod = None;
        let answer = timeout_at(deadline, self.answer(id, asker, request, deadline, &mut pod)).await;
        let answer = answer.unwrap_or_else(|_| Err(Refusal::Deadline(request.network.clone())));
        log(id, asker, request, &answer, began);
        if let Err(refusal) = &answer {
            self.tell(id, asker, request, pod, refusal);
        }
        fault::point("attach-checked");
        answer
    }

    async fn answer(
        &self,
        id: &DecisionId,
        asker: Asker<'_>,
        request: &AttachRequest,
        deadline: Instant,
        pod: &mut Option<PodRef>,
    ) -> Result<AttachReply, Refusal> {
        self.refuse_released(request)?;
        let request = &*self.proven(asker, request, deadline).await?;
        pod.clone_from(&request.pod);
        let network = self.network(&request.network).await?;
        let prepared = self.preparations.get(&self.store, &self.view, &network, &request.network).await?;
        let permitted = self.permitted(&prepared, request).await?;
        // What runs keeps its address, or another pod would get it too; it is told no more than that.
        if request.is_reassertion() {
            self.believe(&prepared, asker, request, &permitted).await?;
        } else {
            permitted.clone()?;
        }
        let placement = placement_of(&prepared, request)?;
        self.boots.begin(&self.store, &self.view, asker.node, &request.boot_id).await?;
        let mut question =
            Question { prepared: &prepared, placement: &placement, asker, request, claimant: None, deadline };
        question.claimant = self.claimant(&question).await?;
        let made = self.make(&question).await?;
        fault::point("attach-created");
        let replied = match self.settle(&question).await {
            Ok(()) => permitted.map_err(Refusal::from).and_then(|()| reply(id, &question, &made)),
            // It is for the next call to look: what runs is not undone because nobody could be asked.
            Err(refusal) if question.request.is_reassertion() && refusal.is_unread() => return Err(refusal),
            Err(refusal) => return Err(self.withdraw(made, refusal).await),
        };
        match replied {
            Err(refusal) if !question.request.is_reassertion() => Err(self.withdraw(made, refusal).await),
            replied => replied,
        }
    }

    /// The Network: from the view, or read where the view has none that serves. One that was made or changed a moment ago is
    /// waited for, since pods and their Networks are often made together.
    async fn network(&self, name: &NetworkName) -> Result<Arc<Network>, Refusal> {
        if let Some(known) = self.view.network(name).filter(|known| refuse_unready(known, name).is_ok()) {
            return Ok(known);
        }
        // The view may be behind: what it says is enough to go on, and never to refuse.
        let object = ObjectName::namespaced(name.namespace(), name.name());
        let read = self.store.get::<Network>(&object).await?;
        let read = Arc::new(read.ok_or_else(|| Refusal::UnknownNetwork(name.clone()))?);
        if is_decided(&read) {
            return Ok(read);
        }
        let decided = self.view.networks.until(|_| {
            let known = self.view.network(name)?;
            (known.metadata.generation >= read.metadata.generation && is_decided(&known)).then_some(known)
        });
        Ok(timeout(PATIENCE, decided).await.unwrap_or(read))
    }

    /// Whether the pod's namespace may use the Network.
    async fn permitted(
        &self,
        prepared: &Prepared,
        request: &AttachRequest,
    ) -> Result<Result<(), NotPermitted>, Refusal> {
        let namespace = pod_namespace(request);
        let labels = self.view.namespace_labels(&self.store, namespace).await?;
        Ok(may_attach(&prepared.intent, &prepared.class, namespace, labels.as_deref()))
    }

    fn refuse_released(&self, request: &AttachRequest) -> Result<(), Refusal> {
        if self.released.contains(&request.attempt) {
            return Err(Refusal::Released(request.attempt.clone()));
        }
        Ok(())
    }

    /// What must hold after the leases are there, for a release, a removal or a fence may have come in between.
    async fn settle(&self, question: &Question<'_>) -> Result<(), Refusal> {
        let prepared = question.prepared;
        let (node, boot) = (question.asker.node, &question.request.boot_id);
        loop {
            let (network, node) = tokio::join!(
                self.gates.check(&self.store, &prepared.uid, &prepared.watched),
                self.boots.check(&self.store, node, boot),
            );
            let closed = |source| Refusal::Closed { network: prepared.name.clone(), source };
            match network.map_err(closed).and(node) {
                Ok(()) => return self.refuse_released(question.request),
                // As long as it may still be withdrawn in time: an API server that is restarted is back in seconds.
                Err(refusal) if refusal.is_unread() && Instant::now() + WITHDRAWAL < question.deadline => {
                    tokio::time::sleep(REPEAT).await;
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }
}

/// The namespace that an attachment counts for: the pod's, or where there is none the Network's.
pub(super) fn pod_namespace(request: &AttachRequest) -> &str {
    request.pod.as_ref().map_or_else(|| request.network.namespace(), |pod| &pod.namespace)
}

fn placement_of(prepared: &Prepared, request: &AttachRequest) -> Result<Placement, Refusal> {
    let network = || prepared.name.clone();
    let mut wishes = Wishes::of(request)
        .map_err(|source| Refusal::Wish { network: network(), source: Box::new(source) })?;
    if request.is_reassertion() {
        // Told by what it was answered: its slot's own address is no wish.
        wishes.mac =
            wishes.mac.filter(|mac| mac.code_and_slot().is_none_or(|(code, _)| code != prepared.mac_code));
    }
    Placement::of(&wishes, &prepared.layout, prepared.mac_code, prepared.plan.mac).map_err(
        |error| match error {
            PlacementError::Wish(source) => Refusal::Wish { network: network(), source: Box::new(source) },
            PlacementError::Address(source) => {
                Refusal::Address { network: network(), source: Box::new(source) }
            }
        },
    )
}

/// The answer, from the leases as they are in the store: the same however often the question is asked.
fn reply(id: &DecisionId, question: &Question<'_>, made: &Made) -> Result<AttachReply, Refusal> {
    let unusable = |reason| question.unusable(reason);
    let facts = question.facts(made.leases())?;
    let Attachment { plugins, host_links, mtu } = question.configs(&made.node, &facts)?;
    let host_links =
        host_links.into_iter().map(|link| host_link(link).map_err(unusable)).collect::<Result<_, _>>()?;
    Ok(AttachReply {
        id: id.to_string(),
        leases: made.leases().map(ResourceExt::name_any).collect(),
        plugins,
        host_links,
        addresses: facts.addresses,
        mac: facts.mac.map(|mac| mac.to_string()),
        mtu,
    })
}

impl Question<'_> {
    /// What delegates are told of leases.
    pub(super) fn facts<'a>(
        &self,
        leases: impl IntoIterator<Item = &'a NetworkLease>,
    ) -> Result<LeaseFacts, Refusal> {
        facts_of(leases.into_iter()).map_err(|reason| self.unusable(reason))
    }

    fn unusable(&self, reason: String) -> Refusal {
        Refusal::Answer { network: self.prepared.name.clone(), reason }
    }
}

fn facts_of<'a>(leases: impl Iterator<Item = &'a NetworkLease>) -> Result<LeaseFacts, String> {
    let mut facts = LeaseFacts::default();
    for lease in leases {
        for address in &lease.spec.addresses {
            let address =
                address.parse().map_err(|_| format!("lease {} has address {address:?}", lease.name_any()))?;
            facts.addresses.push(address);
        }
        if let (None, Some(mac)) = (facts.mac, &lease.spec.mac) {
            let mac: Mac = mac.parse().map_err(|_| format!("lease {} has MAC {mac:?}", lease.name_any()))?;
            facts.mac = Some(mac);
        }
    }
    facts.addresses.sort_by_key(ipnetwork::IpNetwork::is_ipv6);
    Ok(facts)
}

fn host_link(link: knap_core::HostLink) -> Result<HostLink, String> {
    let name = |name: String| name.parse().map_err(|error: knap_protocol::InvalidName| error.to_string());
    Ok(HostLink {
        kind: match link.kind {
            knap_core::HostLinkKind::Bridge => HostLinkKind::Bridge,
        },
        name: name(link.name)?,
        owner: link.owner,
        mtu: link.mtu,
        uplink: link.uplink.map(name).transpose()?,
    })
}

fn log(
    id: &DecisionId,
    asker: Asker<'_>,
    request: &AttachRequest,
    answer: &Result<AttachReply, Refusal>,
    began: Instant,
) {
    let (node, container, ifname) = (asker.node, &asker.key.container_id, &asker.key.ifname);
    let pod = request.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name)).unwrap_or_default();
    let (network, attempt) = (&request.network, &request.attempt);
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    match answer {
        Ok(reply) => {
            let leases = reply.leases.join(",");
            tracing::info!(%id, %network, leases, %node, %container, %ifname, %attempt, pod, micros, "attached");
        }
        Err(refusal) => {
            let status = refusal.kind().status();
            tracing::warn!(%id, %network, status, %refusal, %node, %container, %ifname, %attempt, pod, micros, "refused");
        }
    }
}
