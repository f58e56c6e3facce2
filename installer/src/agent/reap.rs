//! `knap reap`, at start and again and again: what is dead goes, what waits is sent, the ledger is compared with the leases.

use std::time::Duration;

use knap_protocol::ReapSummary;

use super::board::{Part, Problem};
use super::jitter::at_most;
use super::node::Node;
use super::plugin;
use super::signals::{Duty, Woken};
use crate::program::{ProgramError, Said};

/// Seconds between two, at most, where nobody says otherwise: with a reap's own time, what nobody holds is found within a minute.
pub(crate) const INTERVAL: u64 = 45;
/// Hundreds of dead attachments whose delegates take their time. What is left then, the next one goes on with.
const PATIENCE: Duration = Duration::from_secs(600);
/// So many failures are told in full.
const TOLD: usize = 3;

/// Reaps, as soon as there is a plugin, and from then on at its pace and when there is news of the resolver.
pub(crate) fn run(node: &Node) {
    loop {
        if node.plugin_version().is_some() && node.board.is_fine(Part::NodeFile) {
            once(node);
        }
        if node.signals.wait(Duty::Reap, pause(node.settings.reap_interval)) == Woken::ToEnd {
            return;
        }
    }
}

/// Until the next: never longer than was said.
fn pause(interval: u64) -> Duration {
    at_most(Duration::from_secs(interval))
}

/// Reaps once.
pub(crate) fn once(node: &Node) {
    let problems = match plugin::call(node, &["reap"], &[], "", PATIENCE) {
        Ok(said) => judge(&said),
        Err(ProgramError::Stopped) => return,
        Err(error) => vec![Problem::noted("ReapFails", format!("knap reap: {error}"))],
    };
    report(node, problems);
}

fn report(node: &Node, problems: Vec<Problem>) {
    let is_news = !problems.is_empty() || node.board.has_problem(Part::Reap);
    node.board.set(Part::Reap, problems);
    // Perhaps our token is refused: that is the call which tells. Or the resolver is back, and can be told what it missed.
    if is_news {
        node.signals.ring(Duty::Inventory);
    }
}

fn judge(said: &Said) -> Vec<Problem> {
    let Ok(summary) = serde_json::from_str::<ReapSummary>(&said.stdout) else {
        let text = format!("knap reap answered {:?} {:?}", said.stdout, said.stderr);
        return vec![Problem::noted("ReapFails", text)];
    };
    if summary.has_changed_something() {
        tracing::info!(
            torn_down = summary.torn_down,
            released = summary.released,
            salvaged = summary.salvaged,
            suspects_released = summary.suspects_released,
            reasserted = summary.reasserted,
            "reaped"
        );
    }
    let mut problems = Vec::new();
    if !said.success || !summary.failures.is_empty() {
        problems.push(Problem::noted("ReapFails", failures(&summary)));
    }
    if summary.corrupt > 0 {
        problems.push(Problem::noted("LedgerCorrupt", corrupt(&summary)));
    }
    problems
}

fn corrupt(summary: &ReapSummary) -> String {
    let paths: Vec<String> =
        summary.corrupt_files.iter().take(TOLD).map(|path| path.display().to_string()).collect();
    let more = match summary.corrupt.saturating_sub(paths.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} files of the ledger can't be read and may be of pods that run: {}{more}. Each goes with its pod, or when the node \
         boots; where `crictl pods` does not list the sandbox that the name begins with, `rm` it, and the next `knap reap` \
         frees its address",
        summary.corrupt,
        paths.join(" "),
    )
}

fn failures(summary: &ReapSummary) -> String {
    let told: Vec<&str> = summary.failures.iter().take(TOLD).map(String::as_str).collect();
    let more = match summary.failures.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let waiting = match summary.tombstones {
        0 => String::new(),
        count => format!("{count} releases wait for the resolver; "),
    };
    format!("knap reap: {waiting}{}{more}", told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::clock::SetClock;

    fn judged(success: bool, stdout: &str) -> String {
        let said = Said { success, stdout: stdout.to_owned(), stderr: "why".to_owned() };
        format!("{:?}", judge(&said))
    }

    #[test]
    fn what_nobody_holds_is_looked_for_within_a_minute() {
        let longest = (0..200).map(|_| pause(INTERVAL)).max().unwrap();
        assert!(longest <= Duration::from_secs(45), "{longest:?}, and a reap takes its time too");
    }

    /// Without the bell, an inventory that failed waits on for its next try after the resolver is back.
    #[test]
    fn the_inventory_is_told_when_a_reap_fails_and_when_it_succeeds_again() {
        let folder = tempfile::tempdir().unwrap();
        let node = Node::for_tests(folder.path(), &SetClock::default());
        let reaped = |failures: &[&str]| {
            let summary = serde_json::json!({ "failures": failures }).to_string();
            report(&node, judge(&Said { success: true, stdout: summary, stderr: String::new() }));
            let woken = node.signals.wait(Duty::Inventory, Duration::ZERO);
            (node.board.problems().len(), woken == Woken::ByBell)
        };
        assert_eq!(reaped(&[]), (0, false));
        assert_eq!(reaped(&["c1/net1: no resolver"]), (1, true));
        assert_eq!(reaped(&["c1/net1: no resolver"]), (1, true));
        assert_eq!(reaped(&[]), (0, true));
        assert_eq!(reaped(&[]), (0, false));
    }

    #[test]
    fn a_clean_reap_is_no_problem() {
        let line =
            r#"{"entries":3,"alive":2,"tornDown":1,"released":1,"tombstones":0,"corrupt":0,"failures":[]}"#;
        assert_eq!(judged(true, line), "[]");
    }

    #[test]
    fn what_fails_is_told_but_not_without_end() {
        let failures: Vec<String> = (0..500).map(|number| format!("c{number}/net1: stuck")).collect();
        let aside: Vec<String> = (0..5).map(|number| format!("/state/corrupt/c{number}")).collect();
        let line =
            serde_json::json!({"tombstones": 2, "corrupt": 5, "corruptFiles": aside, "failures": failures});
        let line = line.to_string();
        let said = judged(false, &line);
        for word in [
            "2 releases wait",
            "c2/net1: stuck; and 497 more",
            "LedgerCorrupt",
            "/corrupt/c2 and 2 more",
            "Noted",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(!said.contains("c3/net1") && !said.contains("Blocks"), "{said}");
    }

    #[test]
    fn what_is_no_summary_is_shown() {
        assert!(judged(false, "").contains("why"));
    }
}
