//! Boots of a node: which one may attach, and which must not hold a lease any more (design: fencing).

/// What is recorded of one node's boots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boots {
    /// The one that attachments are made in; none while nothing is recorded.
    pub current: Option<String>,
    /// Those before it, the latest last.
    pub superseded: Vec<String>,
    /// Those whose leases are freed.
    pub fences: Vec<Fence>,
}

/// Nothing of this boot may hold a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The boot.
    pub boot: String,
    /// Why.
    pub reason: FenceReason,
    /// RFC 3339, for people.
    pub since: String,
}

/// Why a boot is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FenceReason {
    /// The node runs a later one.
    Rebooted,
    /// The Node is tainted as out of service.
    OutOfService,
    /// An administrator said so.
    Quarantined,
    /// The Node was deleted, and stayed so.
    NodeGone,
}

impl FenceReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rebooted, Self::OutOfService, Self::Quarantined, Self::NodeGone];

    /// As objects, metrics and logs have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rebooted => "Rebooted",
            Self::OutOfService => "OutOfService",
            Self::Quarantined => "Quarantined",
            Self::NodeGone => "NodeGone",
        }
    }
}

/// What fences a node's present boot for as long as it lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Causes {
    /// The Node carries the taint.
    pub out_of_service: bool,
    /// The annotation is there.
    pub quarantined: bool,
    /// The Node has been gone for long enough.
    pub node_gone: bool,
}

impl Causes {
    /// The one that a fence names.
    pub const fn first(self) -> Option<FenceReason> {
        if self.quarantined {
            Some(FenceReason::Quarantined)
        } else if self.out_of_service {
            Some(FenceReason::OutOfService)
        } else if self.node_gone {
            Some(FenceReason::NodeGone)
        } else {
            None
        }
    }
}

/// What may be done for a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Attachments may be made.
    Current,
    /// It was not heard of yet: it is to be recorded first.
    New,
    /// A later one was.
    Superseded,
    /// It is the present one, and fenced.
    Fenced(FenceReason),
}

impl Boots {
    /// What may be done for this boot.
    pub fn standing(&self, boot: &str) -> Standing {
        let is_current = self.current.as_deref() == Some(boot);
        if !is_current && self.superseded.iter().any(|superseded| superseded == boot) {
            return Standing::Superseded;
        }
        match self.fence(boot) {
            Some(fence) if is_current => Standing::Fenced(fence.reason),
            Some(_) => Standing::Superseded,
            None if is_current => Standing::Current,
            None => Standing::New,
        }
    }

    /// Whether nothing of this boot may hold a lease, and why.
    pub fn condemned(&self, boot: &str) -> Option<FenceReason> {
        match self.standing(boot) {
            Standing::Superseded => {
                Some(self.fence(boot).map_or(FenceReason::Rebooted, |fence| fence.reason))
            }
            Standing::Fenced(reason) => Some(reason),
            Standing::Current | Standing::New => None,
        }
    }

    /// All boots that may hold no lease.
    pub fn all_condemned(&self) -> impl Iterator<Item = &str> {
        let fenced = self.fences.iter().map(|fence| fence.boot.as_str());
        let only_superseded =
            self.superseded.iter().map(String::as_str).filter(|boot| self.fence(boot).is_none());
        fenced.chain(only_superseded)
    }

    /// Makes a new boot the present one. The one before it is superseded, and fenced: the node runs it no more. Of those, as
    /// many as `most` are remembered.
    pub fn begin(&mut self, boot: &str, most: usize, now: &str) {
        let Some(before) = self.current.replace(boot.to_owned()) else { return };
        self.fences.retain(|fence| fence.boot != before);
        self.fences.push(Fence {
            boot: before.clone(),
            reason: FenceReason::Rebooted,
            since: now.to_owned(),
        });
        self.superseded.push(before);
        let forgotten = self.superseded.len().saturating_sub(most);
        self.superseded.drain(..forgotten);
    }

    /// Fences the present boot, where there is cause and it is not fenced yet. Whether anything changed.
    pub fn fence_for(&mut self, causes: Causes, now: &str) -> bool {
        let (Some(boot), Some(reason)) = (&self.current, causes.first()) else { return false };
        if self.fence(boot).is_some() {
            return false;
        }
        self.fences.push(Fence { boot: boot.clone(), reason, since: now.to_owned() });
        true
    }

    /// Lifts the present boot's fence: its cause is gone, and nothing of it remains. Whether there was one.
    pub fn lift(&mut self, boot: &str) -> bool {
        let before = self.fences.len();
        if self.current.as_deref() == Some(boot) {
            self.fences.retain(|fence| fence.boot != boot);
        }
        self.fences.len() != before
    }

    /// Drops fences of superseded boots that hold nothing any more: that they are superseded says the same. Whether there were
    /// any.
    pub fn settle(&mut self, holds_leases: impl Fn(&str) -> bool) -> bool {
        let (before, superseded) = (self.fences.len(), &self.superseded);
        self.fences.retain(|fence| !superseded.contains(&fence.boot) || holds_leases(&fence.boot));
        self.fences.len() != before
    }

    /// The fence of a boot.
    pub fn fence(&self, boot: &str) -> Option<&Fence> {
        self.fences.iter().find(|fence| fence.boot == boot)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn booted(boots: &[&str]) -> Boots {
        let mut known = Boots::default();
        for boot in boots {
            known.begin(boot, 3, NOW);
        }
        known
    }

    const TAINTED: Causes = Causes { out_of_service: true, quarantined: false, node_gone: false };

    #[test]
    fn a_reboot_fences_what_came_before() {
        let known = booted(&["a", "b"]);
        assert_eq!(known.standing("b"), Standing::Current);
        assert_eq!(known.standing("a"), Standing::Superseded);
        assert_eq!(known.standing("c"), Standing::New);
        assert_eq!(known.condemned("a"), Some(FenceReason::Rebooted));
        assert_eq!((known.condemned("b"), known.condemned("c")), (None, None));
        assert_eq!(Boots::default().standing("a"), Standing::New);
    }

    #[test]
    fn a_superseded_boot_stays_so_when_its_fence_is_settled() {
        let mut known = booted(&["a", "b"]);
        assert!(!known.settle(|_| true), "it still holds leases");
        assert!(known.settle(|_| false));
        assert!(!known.settle(|_| false));
        assert!(known.fences.is_empty());
        assert_eq!(known.standing("a"), Standing::Superseded);
        assert_eq!(known.all_condemned().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn many_boots_are_remembered_and_not_all() {
        let known = booted(&["a", "b", "c", "d", "e"]);
        assert_eq!(known.superseded, ["b", "c", "d"]);
        assert_eq!(known.standing("a"), Standing::Superseded, "its fence is not settled yet");
        assert_eq!(known.all_condemned().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }

    #[rstest]
    #[case(Causes::default(), None)]
    #[case(TAINTED, Some(FenceReason::OutOfService))]
    #[case(Causes { quarantined: true, ..TAINTED }, Some(FenceReason::Quarantined))]
    #[case(Causes { node_gone: true, ..Causes::default() }, Some(FenceReason::NodeGone))]
    fn a_cause_fences_the_present_boot_once(#[case] causes: Causes, #[case] reason: Option<FenceReason>) {
        let mut known = booted(&["a", "b"]);
        known.settle(|_| false);
        assert_eq!(known.fence_for(causes, NOW), reason.is_some());
        assert_eq!(known.condemned("b"), reason);
        assert!(!known.fence_for(causes, NOW), "it is there already");
        assert_eq!(known.lift("b"), reason.is_some());
        assert_eq!(known.standing("b"), Standing::Current);
    }

    #[test]
    fn only_the_present_boots_fence_lifts() {
        let mut known = booted(&["a", "b"]);
        assert!(!known.lift("a") && !known.lift("c"));
        assert_eq!(known.condemned("a"), Some(FenceReason::Rebooted));
    }

    #[test]
    fn a_reboot_under_a_fence_leaves_the_old_boot_fenced_for_good() {
        let mut known = booted(&["a"]);
        known.fence_for(TAINTED, NOW);
        known.begin("b", 3, NOW);
        assert_eq!(known.condemned("a"), Some(FenceReason::Rebooted));
        assert_eq!(known.standing("b"), Standing::Current);
        assert!(!known.lift("a"));
    }

    #[test]
    fn without_a_boot_there_is_nothing_to_fence() {
        assert!(!Boots::default().fence_for(TAINTED, NOW));
    }
}
