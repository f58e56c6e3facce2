//! What is done about NetworkAttachmentDefinitions that are past Knap.

use std::collections::BTreeSet;

use clap::ValueEnum;

use super::review::UserInfo;

/// Groups that may always make them: cluster administrators, and the cluster's own parts.
const ALWAYS: [&str; 2] = ["system:masters", "system:serviceaccounts:kube-system"];

/// What is done about them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum RawPolicy {
    /// Nothing
    Allow,
    /// Whoever makes one is warned
    #[default]
    Warn,
    /// They are refused
    Refuse,
}

/// What is done about them, and who may make them all the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawAttachments {
    policy: RawPolicy,
    exempt: BTreeSet<String>,
}

impl RawAttachments {
    /// With these users and groups exempt, beside those that always are.
    pub(crate) fn new(policy: RawPolicy, exempt: &[String]) -> Self {
        let always = ALWAYS.into_iter().map(str::to_owned);
        Self { policy, exempt: always.chain(exempt.iter().cloned()).collect() }
    }

    pub(super) fn allows(&self, user: &UserInfo) -> bool {
        self.policy == RawPolicy::Allow
            || self.exempt.contains(&user.username)
            || user.groups.iter().flatten().any(|group| self.exempt.contains(group))
    }

    pub(super) fn refuses(&self) -> bool {
        self.policy == RawPolicy::Refuse
    }
}
