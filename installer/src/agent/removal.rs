//! `agent --uninstall`: everything goes once no attachment is left, and the pod stays to say so.

use super::board::{Part, Problem};
use super::credential::TokenKeeper;
use super::node::Node;
use super::reap;
use super::signals::{Duty, Woken};
use crate::lock::NodeLock;
use crate::uninstall::{self, UninstallError};

/// Removes everything as soon as that breaks nothing; then waits for the end. Ready means removed.
pub(crate) fn run(node: &Node, lock: NodeLock) {
    let mut token = TokenKeeper::new(node);
    loop {
        node.looked();
        match uninstall::remove_all(&node.paths, false) {
            Ok(removed) => {
                for path in removed {
                    tracing::info!("{}: removed", path.display());
                }
                break;
            }
            Err(error) => {
                let in_use = matches!(error, UninstallError::InUse { .. });
                node.board.set(Part::Plugin, vec![Problem::blocks("NotRemoved", error.to_string())]);
                if in_use {
                    // What is dead keeps nobody waiting, and what waits for the resolver needs a token that is good.
                    token.look();
                    reap::once(node);
                }
            }
        }
        if node.signals.wait(Duty::Upkeep, node.interval()) == Woken::ToEnd {
            return;
        }
    }
    drop(lock);
    if let Err(error) = uninstall::remove_config_dir(&node.paths) {
        tracing::warn!("{error}");
    }
    node.board.settle();
    tracing::info!("nothing of Knap is left on this node");
    while node.signals.wait(Duty::Upkeep, node.interval()) != Woken::ToEnd {
        node.looked();
    }
}
