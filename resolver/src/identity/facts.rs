//! Who runs where, as far as a watch has told. What is known of a pod never changes, so all that is kept of it is a hash of it:
//! 16 bytes a pod, and a cluster has a hundred thousand.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::time::Instant;

use super::BoundPod;

/// How long a pod that is gone is remembered.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Pods that are gone and remembered, at most.
const MOST_GONE: usize = 100_000;

/// That a pod of this name and UID runs on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fact(u64, u64);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Nobody outside knows how they hash, so nobody finds a pod that hashes as another.
    hashers: (RandomState, RandomState),
    present: HashSet<Fact>,
    gone: Gone,
    gathered: Option<HashSet<Fact>>,
}

impl Facts {
    /// The fact that this is.
    pub(super) fn fact(&self, namespace: &str, name: &str, uid: &str, node: &str) -> Fact {
        let parts = (namespace, name, uid, node);
        Fact(self.hashers.0.hash_one(parts), self.hashers.1.hash_one(parts))
    }

    /// Whether it is so.
    pub(super) fn is_known(&self, fact: Fact) -> bool {
        self.present.contains(&fact)
    }

    /// Whether it was so, until lately.
    pub(super) fn was_known(&self, fact: Fact) -> bool {
        self.gone.contains(fact)
    }

    /// All there is will be told anew.
    pub(super) fn restart(&mut self) {
        self.gathered = Some(HashSet::new());
    }

    /// A pod is there, or has changed.
    pub(super) fn learn(&mut self, pod: &BoundPod) {
        let facts = self.facts_of(pod);
        self.gathered.as_mut().unwrap_or(&mut self.present).extend(facts.into_iter().flatten());
    }

    /// All there is has been told.
    pub(super) fn complete(&mut self) {
        if let Some(gathered) = self.gathered.take() {
            let before = std::mem::replace(&mut self.present, gathered);
            let now = Instant::now();
            for fact in before.difference(&self.present) {
                self.gone.remember(*fact, now);
            }
        }
    }

    /// A pod is gone.
    pub(super) fn forget(&mut self, pod: &BoundPod) {
        let now = Instant::now();
        for fact in self.facts_of(pod).into_iter().flatten() {
            self.present.remove(&fact);
            self.gone.remember(fact, now);
        }
    }

    /// What a pod makes true: none while it is not bound, two of the mirror of a static pod.
    fn facts_of(&self, pod: &BoundPod) -> [Option<Fact>; 2] {
        let meta = &pod.metadata;
        let (Some(namespace), Some(name), Some(node)) = (&meta.namespace, &meta.name, pod.node()) else {
            return [None; 2];
        };
        [meta.uid.as_deref(), pod.static_uid()].map(|uid| Some(self.fact(namespace, name, uid?, node)))
    }
}

/// Pods that were there until lately.
#[derive(Debug, Default)]
struct Gone {
    facts: HashSet<Fact>,
    oldest: VecDeque<(Instant, Fact)>,
}

impl Gone {
    fn remember(&mut self, fact: Fact, now: Instant) {
        while let Some((_, old)) =
            self.oldest.pop_front_if(|(since, _)| *since + REMEMBERED <= now).or_else(|| self.surplus())
        {
            self.facts.remove(&old);
        }
        if self.facts.insert(fact) {
            self.oldest.push_back((now, fact));
        }
    }

    fn surplus(&mut self) -> Option<(Instant, Fact)> {
        if self.oldest.len() >= MOST_GONE { self.oldest.pop_front() } else { None }
    }

    fn contains(&self, fact: Fact) -> bool {
        self.facts.contains(&fact)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, uid: &str, node: Option<&str>) -> BoundPod {
        let metadata = json!({"namespace": "shop", "name": name, "uid": uid});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"nodeName": node}})).unwrap()
    }

    fn is_known(facts: &Facts, name: &str, uid: &str, node: &str) -> bool {
        facts.is_known(facts.fact("shop", name, uid, node))
    }

    fn was_known(facts: &Facts, name: &str, uid: &str, node: &str) -> bool {
        facts.was_known(facts.fact("shop", name, uid, node))
    }

    #[test]
    fn a_bound_pod_is_known_by_all_that_names_it() {
        let mut facts = Facts::default();
        facts.learn(&pod("a", "u1", None));
        assert!(!is_known(&facts, "a", "u1", ""));
        facts.learn(&pod("a", "u1", Some("n1")));
        assert!(is_known(&facts, "a", "u1", "n1"));
        for (name, uid, node) in [("b", "u1", "n1"), ("a", "u2", "n1"), ("a", "u1", "n2"), ("a", "", "n1")] {
            assert!(!is_known(&facts, name, uid, node), "{name} {uid} {node}");
        }
        assert!(!facts.is_known(facts.fact("bank", "a", "u1", "n1")));
        facts.forget(&pod("a", "u1", Some("n1")));
        assert!(!is_known(&facts, "a", "u1", "n1") && was_known(&facts, "a", "u1", "n1"));
    }

    #[test]
    fn a_static_pod_is_known_by_both_its_uids() {
        let mut facts = Facts::default();
        let mut mirror = pod("etcd", "u1", Some("n1"));
        mirror.metadata.annotations =
            Some([("kubernetes.io/config.hash".to_owned(), "h1".to_owned())].into());
        facts.learn(&mirror);
        assert!(is_known(&facts, "etcd", "u1", "n1") && is_known(&facts, "etcd", "h1", "n1"));
    }

    #[test]
    fn what_a_new_beginning_does_not_tell_is_gone() {
        let mut facts = Facts::default();
        facts.learn(&pod("a", "u1", Some("n1")));
        facts.learn(&pod("b", "u2", Some("n1")));
        facts.restart();
        facts.learn(&pod("b", "u2", Some("n1")));
        assert!(is_known(&facts, "a", "u1", "n1"), "until all is told");
        facts.complete();
        assert!(!is_known(&facts, "a", "u1", "n1") && was_known(&facts, "a", "u1", "n1"));
        assert!(is_known(&facts, "b", "u2", "n1") && !was_known(&facts, "b", "u2", "n1"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_gone_are_forgotten_after_a_while_and_when_they_are_too_many() {
        let mut facts = Facts::default();
        facts.forget(&pod("a", "u1", Some("n1")));
        tokio::time::advance(REMEMBERED).await;
        facts.forget(&pod("b", "u2", Some("n1")));
        assert!(!was_known(&facts, "a", "u1", "n1") && was_known(&facts, "b", "u2", "n1"));
        for number in 0..MOST_GONE {
            facts.forget(&pod("c", &number.to_string(), Some("n1")));
        }
        assert!(!was_known(&facts, "b", "u2", "n1") && was_known(&facts, "c", "0", "n1"));
        assert_eq!((facts.gone.facts.len(), facts.gone.oldest.len()), (MOST_GONE, MOST_GONE));
    }
}
