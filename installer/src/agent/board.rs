//! What is wrong on this node, as each part of the agent sees it now.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use knap_protocol::NodeProblem;

/// Whether pods can be attached in spite of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// They can't, or nobody can be sure that they can: the agent is not ready.
    Blocks,
    /// They can; somebody should see to it.
    Noted,
}

/// One thing that somebody has to see to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    reason: &'static str,
    message: String,
    weight: Weight,
}

impl Problem {
    /// One that keeps the agent from being ready. `reason` is CamelCase, as a condition's.
    pub(crate) fn blocks(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), weight: Weight::Blocks }
    }

    /// One that does not.
    pub(crate) fn noted(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), weight: Weight::Noted }
    }
}

/// A part of the agent that reports. The agent is not ready before each of them has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The plugin's binary.
    Plugin,
    /// The node file.
    NodeFile,
    /// Which ledger it names.
    Ledger,
    /// The resolver's authorities.
    Authority,
    /// The node's token.
    Token,
    /// The plugin, asked for its STATUS.
    Status,
    /// The host's namespace files.
    Namespaces,
    /// `knap reap`.
    Reap,
    /// The inventory.
    Inventory,
}

/// Without a word of these, it is not known whether a pod can be attached.
const NEEDED: [(Part, &str); 6] = [
    (Part::Plugin, "the plugin"),
    (Part::NodeFile, "the node file"),
    (Part::Authority, "the resolver's authorities"),
    (Part::Token, "the node's token"),
    (Part::Status, "the plugin's STATUS"),
    (Part::Namespaces, "the host's network namespaces"),
];

/// What every part has reported last.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<Part, Vec<Problem>>>);

/// The board at one moment, for probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Whether a pod on this node can be attached.
    pub(crate) ready: bool,
    /// All problems, or what is not known yet, a line each.
    pub(crate) text: String,
}

impl Board {
    /// Says what is wrong with a part now: nothing, mostly. What is new is logged, and so is what has ended.
    pub(crate) fn set(&self, part: Part, problems: Vec<Problem>) {
        let mut board = self.lock();
        let before = board.insert(part, problems).unwrap_or_default();
        let now = board.get(&part).map_or(&[][..], Vec::as_slice);
        for problem in now.iter().filter(|problem| !before.contains(problem)) {
            tracing::warn!(reason = problem.reason, "{}", problem.message);
        }
        for problem in &before {
            if !now.iter().any(|now| now.reason == problem.reason) {
                tracing::info!(reason = problem.reason, "settled");
            }
        }
    }

    /// Nothing is left to look after, and so nothing is wrong.
    pub(crate) fn settle(&self) {
        for (part, _) in NEEDED {
            self.set(part, Vec::new());
        }
        self.set(Part::Reap, Vec::new());
    }

    /// All problems, in the order of parts.
    pub(crate) fn problems(&self) -> Vec<NodeProblem> {
        let board = self.lock();
        let problems = board.values().flatten();
        problems
            .map(|problem| NodeProblem {
                reason: problem.reason.to_owned(),
                message: problem.message.clone(),
            })
            .collect()
    }

    /// Whether a part has reported, and nothing that blocks.
    pub(crate) fn is_fine(&self, part: Part) -> bool {
        self.lock()
            .get(&part)
            .is_some_and(|problems| !problems.iter().any(|found| found.weight == Weight::Blocks))
    }

    /// Whether a part has reported anything, be it a mere note.
    pub(crate) fn has_problem(&self, part: Part) -> bool {
        self.lock().get(&part).is_some_and(|problems| !problems.is_empty())
    }

    /// What probes are told.
    pub(crate) fn report(&self) -> Report {
        let board = self.lock();
        let mut ready = true;
        let mut text = String::new();
        for (_, name) in NEEDED.iter().filter(|(part, _)| !board.contains_key(part)) {
            ready = false;
            let _ = writeln!(text, "Starting: {name}: not looked at yet");
        }
        for problem in board.values().flatten() {
            ready &= problem.weight == Weight::Noted;
            let _ = writeln!(text, "{}: {}", problem.reason, problem.message);
        }
        if text.is_empty() {
            text.push_str("ok\n");
        }
        Report { ready, text }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, Vec<Problem>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_once_all_have_reported_and_nothing_blocks() {
        let board = Board::default();
        assert!(!board.report().ready && board.report().text.contains("the node's token: not looked at yet"));
        for (part, _) in NEEDED {
            board.set(part, Vec::new());
        }
        assert_eq!(board.report(), Report { ready: true, text: "ok\n".to_owned() });
        board.set(Part::Reap, vec![Problem::noted("ReapFailed", "a delegate is stuck")]);
        assert_eq!(
            board.report(),
            Report { ready: true, text: "ReapFailed: a delegate is stuck\n".to_owned() }
        );
        board.set(Part::Token, vec![Problem::blocks("NoToken", "none came")]);
        assert!(!board.report().ready && !board.is_fine(Part::Token) && board.is_fine(Part::Reap));
        let reasons: Vec<String> = board.problems().into_iter().map(|problem| problem.reason).collect();
        assert_eq!(reasons, ["NoToken", "ReapFailed"]);
        board.set(Part::Token, Vec::new());
        assert!(board.report().ready);
    }
}
