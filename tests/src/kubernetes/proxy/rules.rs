//! What happens to which requests, changed while the proxy runs.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::Fate;
use super::call::Call;

#[derive(Debug, Clone)]
struct Rule {
    pattern: String,
    fate: Fate,
    /// How often it still counts; always, where absent.
    left: Option<usize>,
}

/// The rules, and how often each call was seen.
#[derive(Debug)]
pub(super) struct Rules {
    rules: watch::Sender<Vec<Rule>>,
    seen: std::sync::Mutex<BTreeMap<String, (Call, usize)>>,
    /// How often all watches that ran were silenced.
    silences: watch::Sender<usize>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            rules: watch::Sender::new(Vec::new()),
            seen: std::sync::Mutex::default(),
            silences: watch::Sender::new(0),
        }
    }
}

impl Rules {
    pub(super) fn add(&self, pattern: &str, fate: Fate, left: Option<usize>) {
        self.rules.send_modify(|rules| {
            if left.is_none() {
                rules.retain(|rule| rule.pattern != pattern);
            }
            rules.push(Rule { pattern: pattern.to_owned(), fate, left });
        });
    }

    pub(super) fn clear(&self) {
        self.rules.send_modify(Vec::clear);
    }

    /// A request has come: what becomes of it.
    pub(super) fn take(&self, call: &Call) -> Fate {
        let mut seen = self.seen.lock().expect("no panic under the lock");
        seen.entry(call.to_string()).or_insert_with(|| (call.clone(), 0)).1 += 1;
        let mut fate = Fate::Forward;
        self.rules.send_if_modified(|rules| {
            let found =
                rules.iter_mut().rev().find(|rule| rule.left != Some(0) && call.matches(&rule.pattern));
            if let Some(rule) = found {
                fate = rule.fate.clone();
                rule.left = rule.left.map(|left| left - 1);
            }
            // Nobody waits for that.
            false
        });
        fate
    }

    /// Waits until calls like this are not held any more, and returns what becomes of it instead.
    pub(super) async fn released(&self, call: &Call) -> Fate {
        let mut rules = self.rules.subscribe();
        let released = rules.wait_for(|rules| standing(rules, call) != Fate::Held).await;
        standing(&released.expect("rules that live as long as the proxy"), call)
    }

    /// Waits until calls like this are cut.
    pub(super) async fn cut(&self, call: &Call) {
        let mut rules = self.rules.subscribe();
        rules
            .wait_for(|rules| standing(rules, call) == Fate::Lost)
            .await
            .expect("rules of a proxy that lives");
    }

    pub(super) fn silence(&self) {
        self.silences.send_modify(|count| *count += 1);
    }

    /// What tells a watch that begins now when it is silenced.
    pub(super) fn silences(&self) -> watch::Receiver<usize> {
        self.silences.subscribe()
    }

    pub(super) fn seen(&self, pattern: &str) -> usize {
        let seen = self.seen.lock().expect("no panic under the lock");
        seen.values().filter(|(call, _)| call.matches(pattern)).map(|(_, count)| count).sum()
    }
}

/// What the rules say that always count.
fn standing(rules: &[Rule], call: &Call) -> Fate {
    let found = rules.iter().rev().find(|rule| rule.left.is_none() && call.matches(&rule.pattern));
    found.map_or(Fate::Forward, |rule| rule.fate.clone())
}
