//! Who may call in a cluster. Its nodes, by tokens that their agents get for what the cluster gave the agents' pods; people
//! and tools, by what the cluster lets them read.

mod agent;
mod exchange;
mod nodes;
mod readers;
mod reviews;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use knap_protocol::NodeCredentials;

pub use agent::AgentAccount;
pub(crate) use reviews::Reviews;

use super::node_tokens::Keyring;
use crate::http::{Authority, Denied};
use crate::store::Store;
use crate::view::View;
use exchange::Exchange;
use nodes::Nodes;
use readers::Readers;

/// The authority of a cluster.
pub(crate) struct ClusterAuthority<S, R> {
    nodes: Arc<Nodes<S>>,
    exchange: Exchange<S, R>,
    readers: Readers<R>,
}

impl<S: Store, R: Reviews + Clone> ClusterAuthority<S, R> {
    /// Over the cluster's store and its reviews. Nodes' agents run as this service account.
    pub(crate) fn new(
        store: S,
        reviews: R,
        view: Arc<View>,
        keyring: Arc<Keyring>,
        agent: AgentAccount,
    ) -> Self {
        let nodes = Arc::new(Nodes::new(store.clone(), view, Arc::clone(&keyring)));
        let exchange = Exchange::new(store, reviews.clone(), Arc::clone(&nodes), keyring, agent);
        Self { nodes, exchange, readers: Readers::new(reviews) }
    }
}

impl<S: Store, R: Reviews> Authority for ClusterAuthority<S, R> {
    fn admit_node<'a>(&'a self, token: &'a [u8], node: &'a str) -> BoxFuture<'a, Result<(), Denied>> {
        async move { Ok(self.nodes.admit(token, node).await?) }.boxed()
    }

    fn admit_reader<'a>(&'a self, token: &'a [u8], path: &'a str) -> BoxFuture<'a, Result<(), Denied>> {
        self.readers.admit(token, path).boxed()
    }

    fn exchange<'a>(
        &'a self,
        token: &'a [u8],
        node: &'a str,
    ) -> BoxFuture<'a, Result<NodeCredentials, Denied>> {
        async move { Ok(self.exchange.exchange(token, node).await?) }.boxed()
    }
}

#[cfg(test)]
mod tests;
