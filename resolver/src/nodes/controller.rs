//! The controller of nodes: fences, what they free, and records of nodes that are gone. Nothing is kept between passes but since
//! when a Node has been missed, so that another replica can go on at any point.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use knap_api::NodeInventory;
use knap_core::{Causes, FenceReason};
use kube::ResourceExt;
use tokio::time::Instant;

use super::counters::Counters;
use super::due::{DueNodes, Pace};
use super::fences::{fence, settle};
use super::free::free;
use super::record::{boots_of, causes_of};
use crate::fault;
use crate::store::{ObjectName, Preconditions, Store, StoreError};
use crate::view::View;

/// All nodes are looked at, whatever changed, since leases turn up late and Nodes stay away.
const PACE: Pace =
    Pace { look: Duration::from_secs(5), gather: Duration::ZERO, all: |view| view.inventories.names() };
/// How long the record of a Node that is gone is kept.
const KEEP: Duration = Duration::from_secs(600);
/// How long a fence outlives the Node that it was set for being gone: the machine may yet come back with what it holds.
const KEEP_FENCE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What an administrator may choose.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// After how long a Node that stays deleted is fenced; never where absent.
    pub gone_node_after: Option<Duration>,
    /// How long the record of a Node that is gone is kept.
    pub keep: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { gone_node_after: None, keep: KEEP }
    }
}

/// Looks after nodes. One of all replicas runs it.
#[derive(Debug)]
pub struct Nodes<S> {
    store: S,
    view: Arc<View>,
    rules: Rules,
    counters: Counters,
    /// Since when Nodes have been missed of which there is a record.
    missed: HashMap<String, Instant>,
}

impl<S: Store> Nodes<S> {
    /// A controller over a store and the picture of it.
    pub fn new(store: S, view: Arc<View>, rules: Rules, counters: Counters) -> Self {
        Self { store, view, rules, counters, missed: HashMap::new() }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut due = DueNodes::of(&self.view, PACE).await;
        while let Some(nodes) = due.next().await {
            for node in nodes {
                if let Err(error) = self.node(&node).await {
                    tracing::warn!(node, %error, "can't look after a node now; trying again");
                }
            }
        }
    }

    async fn node(&mut self, node: &str) -> Result<(), StoreError> {
        let Some(known) = self.view.inventories.get(&ObjectName::cluster(node)) else {
            self.missed.remove(node);
            return Ok(());
        };
        let missed_for = self.missed_for(node);
        let gone_for_long = self.rules.gone_node_after.is_some_and(|after| missed_for >= Some(after));
        let mut boots = boots_of(&known);
        let causes = Causes { node_gone: gone_for_long, ..causes_of(&known, &self.view) };
        if boots.clone().fence_for(causes, "") {
            let Some(fenced) = fence(&self.store, node, gone_for_long).await? else { return Ok(()) };
            boots = fenced;
            fault::point("node-fenced");
        }
        free(&self.store, &self.view, &self.counters, node, &boots).await?;
        let view = &self.view;
        if boots.clone().settle(|boot| view.leases.holds(node, Some(boot))) {
            settle(&self.store, view, node).await?;
        }
        self.collect(&known, missed_for).await
    }

    /// For how long a Node has been missed; none where it is there.
    fn missed_for(&mut self, node: &str) -> Option<Duration> {
        if self.view.nodes.get(&ObjectName::cluster(node)).is_some() {
            self.missed.remove(node);
            return None;
        }
        Some(self.missed.entry(node.to_owned()).or_insert_with(Instant::now).elapsed())
    }

    /// Deletes the record of a node that is gone and holds nothing. Where no Node is known at all, nobody registers them.
    async fn collect(&self, known: &NodeInventory, missed_for: Option<Duration>) -> Result<(), StoreError> {
        let (name, node) = (ObjectName::of(known), known.name_any());
        let unneeded = missed_for.is_some_and(|missed_for| missed_for >= self.rules.keep)
            && !self.view.nodes.is_empty()
            && !self.view.leases.holds(&node, None)
            && boots_of(known).fences.iter().all(|fence| {
                fence.reason == FenceReason::NodeGone && is_past(&fence.since, Timestamp::now())
            });
        if !unneeded || self.store.get::<Node>(&name).await?.is_some() {
            return Ok(());
        }
        match self.store.delete::<NodeInventory>(&name, &Preconditions::unchanged(known)).await {
            Ok(()) => tracing::info!(node, "removed the record of a node that is gone"),
            Err(StoreError::NotFound { .. } | StoreError::Changed { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether a fence has been kept for long enough. One that says no time was written by somebody else, and stays.
fn is_past(since: &str, now: Timestamp) -> bool {
    since.parse().is_ok_and(|since: Timestamp| now.duration_since(since) >= KEEP_FENCE)
}
