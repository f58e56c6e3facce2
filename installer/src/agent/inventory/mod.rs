//! What the node has: looked at often, told when it has changed, and now and then.

mod delegate;
mod link;

use std::time::{Duration, Instant};

use knap_client::{Cause, ResolverError};
use knap_protocol::{Inventory, NodeProblem};

use super::board::{Part, Problem};
use super::jitter::{around, at_most};
use super::node::Node;
use super::signals::{Duty, Woken};
use delegate::Delegates;

/// How long an unchanged inventory is not told again.
const GOOD_FOR: Duration = Duration::from_secs(600);
/// Between tries that fail, at most: an uplink that came while the resolver was away keeps pods waiting no longer once it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// How long the resolver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks and tells, again and again.
pub(crate) fn run(node: &Node) {
    let mut teller = Teller::new(node);
    let mut wanted = true;
    loop {
        teller.look(wanted);
        match node.signals.wait(Duty::Inventory, node.interval()) {
            Woken::ToEnd => return,
            woken => wanted = woken == Woken::ByBell,
        }
    }
}

/// What was told last.
struct Told {
    inventory: Inventory,
    until: Duration,
}

/// What is remembered from one look to the next.
pub(crate) struct Teller<'a> {
    node: &'a Node,
    delegates: Delegates,
    told: Option<Told>,
    failures: u32,
    not_before: Duration,
}

impl<'a> Teller<'a> {
    pub(crate) fn new(node: &'a Node) -> Self {
        Self { node, delegates: Delegates::default(), told: None, failures: 0, not_before: Duration::ZERO }
    }

    /// Tells what there is to tell where nothing can be written, not even by whom this node is looked after: by the token of
    /// before, if there is one.
    pub(crate) fn tell_by_kept_token(&mut self) {
        let node = self.node;
        let token = std::fs::read_to_string(node.here(&node.file.resolver.token_file));
        if token.is_ok_and(|token| !token.trim().is_empty()) {
            node.set_plugin_version(node.paths.plugin().version().ok().flatten());
            node.board.set(Part::Token, Vec::new());
            self.look(false);
        }
    }

    /// `wanted`: whether it is to be told even if nothing has changed.
    fn look(&mut self, wanted: bool) {
        let node = self.node;
        let inventory = match self.survey() {
            Ok(inventory) => inventory,
            Err(error) => {
                let problem = Problem::noted("InventoryUnknown", format!("{error:#}"));
                node.board.set(Part::Inventory, vec![problem]);
                return;
            }
        };
        let now = node.clock.since_boot();
        let is_news =
            self.told.as_ref().is_none_or(|told| told.until <= now || differ(&told.inventory, &inventory));
        let may = wanted || now >= self.not_before;
        if !(wanted || is_news) || !may || !node.board.is_fine(Part::Token) {
            return;
        }
        match node.resolver().inventory(&inventory, Instant::now() + PATIENCE) {
            Ok(()) => {
                tracing::debug!("told the resolver what this node has");
                self.take_as_told(inventory, now);
                node.board.set(Part::Inventory, Vec::new());
            }
            // A resolver of a single host keeps none.
            Err(error) if is_unknown_path(&error) => {
                self.take_as_told(inventory, now);
                node.board.set(Part::Inventory, Vec::new());
            }
            Err(error) => {
                if matches!(error.cause, Cause::Credential { .. }) {
                    node.refuse_token();
                }
                // Bells ring while the resolver is away, too: only what was tried in time makes the pause longer.
                if now >= self.not_before {
                    self.failures = self.failures.saturating_add(1);
                    self.not_before = now + at_most((node.interval() * self.failures).min(LONGEST_PAUSE));
                }
                node.board.set(Part::Inventory, vec![Problem::noted("InventoryNotTaken", error.to_string())]);
            }
        }
    }

    fn take_as_told(&mut self, inventory: Inventory, now: Duration) {
        self.told = Some(Told { inventory, until: now + around(GOOD_FOR) });
        (self.failures, self.not_before) = (0, Duration::ZERO);
    }

    fn survey(&mut self) -> anyhow::Result<Inventory> {
        let node = self.node;
        Ok(Inventory {
            boot_id: node.boot_id()?,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            plugin_version: node.plugin_version(),
            underlay_address: node.settings.node_ip,
            interfaces: link::survey(&node.settings.sysfs),
            delegates: self.delegates.survey(node),
            problems: node.board.problems(),
        })
    }
}

/// Whether there is something to tell. The words of a problem may be others each time; that there is one is the news.
fn differ(one: &Inventory, other: &Inventory) -> bool {
    fn reasons(inventory: &Inventory) -> impl Iterator<Item = &str> {
        inventory.problems.iter().map(|NodeProblem { reason, .. }| reason.as_str())
    }
    let without_words = |inventory: &Inventory| Inventory { problems: Vec::new(), ..inventory.clone() };
    !reasons(one).eq(reasons(other)) || without_words(one) != without_words(other)
}

fn is_unknown_path(error: &ResolverError) -> bool {
    matches!(&error.cause, Cause::Refused { problem } if problem.status == 404)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::clock::SetClock;

    fn inventory(problems: &[(&str, &str)]) -> Inventory {
        let problems: Vec<_> = problems
            .iter()
            .map(|(reason, message)| serde_json::json!({"reason": reason, "message": message}))
            .collect();
        serde_json::from_value(serde_json::json!({"bootID": "b1", "agentVersion": "1", "problems": problems}))
            .unwrap()
    }

    #[test]
    fn bells_do_not_make_the_pause_longer() {
        let folder = tempfile::tempdir().unwrap();
        let clock = SetClock::default();
        let node = Node::for_tests(folder.path(), &clock);
        node.board.set(Part::Token, Vec::new());
        let mut teller = Teller::new(&node);
        for second in 0..7 {
            clock.set(Duration::from_secs(second));
            teller.look(true);
        }
        assert!(!node.board.problems().is_empty(), "the resolver is away");
        assert!(teller.not_before <= node.interval() * 5 / 4, "{:?}", teller.not_before);
        clock.set(teller.not_before);
        teller.look(false);
        assert!(teller.not_before > node.interval() * 3 / 2, "{:?}: the second in time", teller.not_before);
    }

    #[test]
    fn other_words_for_the_same_problem_are_no_news() {
        let before = inventory(&[("NoToken", "decision d7")]);
        assert!(!differ(&before, &inventory(&[("NoToken", "decision d8")])));
        assert!(differ(&before, &inventory(&[])));
        assert!(differ(&before, &inventory(&[("ForeignPlugin", "decision d7")])));
        assert!(differ(&before, &Inventory { boot_id: "b2".parse().unwrap(), ..before.clone() }));
    }
}
