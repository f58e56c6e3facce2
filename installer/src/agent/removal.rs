//! `agent --uninstall`: everything goes once no attachment is left, and the pod stays to say so.

use std::thread;
use std::time::Duration;

use super::board::{Part, Problem};
use super::credential::TokenKeeper;
use super::node::Node;
use super::reap;
use super::signals::{Duty, Woken};
use crate::lock::NodeLock;
use crate::node_file;
use crate::uninstall::{self, UninstallError};

/// Between signs of life while a reap runs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Removes everything as soon as that breaks nothing; then waits for the end. Ready means removed.
pub(crate) fn run(node: &Node, lock: NodeLock) {
    let mut token = TokenKeeper::new(node);
    loop {
        node.looked();
        match uninstall::remove_all(&node.paths, false, &node_file::grace) {
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
                    reap(node, &mut token);
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

/// What is dead keeps nobody waiting, and what waits for the resolver needs a token that is good. A reap may take longer than
/// a look that hangs, and is ended by itself then.
fn reap(node: &Node, token: &mut TokenKeeper<'_>) {
    thread::scope(|scope| {
        let reaping = scope.spawn(|| {
            token.look();
            reap::once(node);
        });
        while !reaping.is_finished() && node.signals.wait(Duty::Upkeep, SIGN_OF_LIFE) != Woken::ToEnd {
            node.looked();
        }
    });
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;
    use crate::agent::clock::SetClock;
    use crate::agent::health::health;
    use crate::lock::this_process;

    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_reap_that_takes_its_time_is_no_look_that_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for made in ["bin", "state/attachments"] {
            fs::create_dir_all(path(made)).unwrap();
        }
        fs::write(path("state/attachments/c1@net1.json"), "{}").unwrap();
        let script = format!(
            "#!/bin/sh\necho 'knap 1: a CNI plugin' >&2\n[ \"$1\" != reap ] || {{ : >{}; sleep 600; }}\n",
            path("reaping").display()
        );
        fs::write(path("bin/knap"), script).unwrap();
        fs::set_permissions(path("bin/knap"), fs::Permissions::from_mode(0o755)).unwrap();
        let clock = SetClock::default();
        let node = Node::for_tests(folder.path(), &clock);
        let lock = NodeLock::take(&node.here(&node.paths.lock_file()), &this_process()).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| run(&node, lock));
            eventually("it reaps", || path("reaping").exists());
            clock.set(Duration::from_secs(400));
            eventually("it is healthy", || health(&node).0 == "200 OK");
            clock.set(Duration::from_secs(800));
            eventually("it stays so", || health(&node).0 == "200 OK");
            assert!(path("state/attachments/c1@net1.json").exists());
            node.signals.stop();
        });
    }
}
