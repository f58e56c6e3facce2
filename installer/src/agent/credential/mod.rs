//! The node's token: obtained for that of our pod, kept for the plugin, renewed early, obtained anew when it is refused.

mod record;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use knap_client::{Cause, ResolverError};
use knap_protocol::{AUDIENCE, BootId};

use super::board::{Part, Problem};
use super::jitter::around;
use super::node::Node;
use super::signals::{Duty, Woken};
use crate::replace::{ReplaceError, keep, keep_mode};
use record::{TokenRecord, Worth};

/// How long the resolver may take: it asks the API server.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between tries that fail: at first, and at most.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Of the token's file and its record: root's alone.
const MODE: u32 = 0o600;
/// A token that is refused sooner after it came is not replaced at once: the next one would be refused too.
const TRIAL: Duration = Duration::from_secs(10);

/// Looks after the token, again and again.
pub(crate) fn run(node: &Node) {
    let mut keeper = TokenKeeper::new(node);
    loop {
        let pause = keeper.look();
        if node.signals.wait(Duty::Credential, pause) == Woken::ToEnd {
            return;
        }
    }
}

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    /// The pod has none to show.
    #[error(
        "can't read the service-account token {}: {reason}; mount a projected one with audience {AUDIENCE}",
        path.display()
    )]
    ServiceAccount {
        /// Where it should be.
        path: PathBuf,
        /// Why it can't be read.
        reason: String,
    },
    /// The resolver gives none.
    #[error("{0}")]
    Resolver(Box<ResolverError>),
    /// What it gave can't be a token.
    #[error("the resolver answered an empty token; see its log")]
    Empty,
    /// The boot, which the token's age counts from, is not known.
    #[error("{0:#}")]
    Boot(anyhow::Error),
    /// It can't be kept.
    #[error(transparent)]
    Keep(#[from] ReplaceError),
    /// What is remembered of it can't be put into words.
    #[error("can't encode what is remembered of the token: {0}")]
    Encode(#[from] serde_json::Error),
}

/// What is remembered from one look to the next.
pub(crate) struct TokenKeeper<'a> {
    node: &'a Node,
    token_file: PathBuf,
    /// The resolver has refused the token that is kept.
    refused: bool,
    obtained_at: Option<Duration>,
    failures: u32,
}

impl<'a> TokenKeeper<'a> {
    pub(crate) fn new(node: &'a Node) -> Self {
        let token_file = node.here(&node.file.resolver.token_file);
        Self { node, token_file, refused: false, obtained_at: None, failures: 0 }
    }

    /// Does what is due; says when to look again.
    pub(crate) fn look(&mut self) -> Duration {
        let node = self.node;
        let Some(service_account) = &node.settings.service_account_token else {
            node.board.set(Part::Token, self.kept_by_others());
            return node.interval();
        };
        if node.ca_file().is_some_and(|file| !file.exists()) {
            // Said by who looks after the authorities, and over in a moment when the agent starts.
            return SHORTEST_PAUSE;
        }
        self.refused |= node.token_was_refused();
        let now = node.clock.since_boot();
        let worth = if self.refused { Worth::Expired } else { self.worth(now) };
        let mut problems = self.exposed();
        if worth == Worth::Good {
            node.board.set(Part::Token, problems);
            return node.interval();
        }
        let on_trial = self.obtained_at.and_then(|at| (at + TRIAL).checked_sub(now));
        if let Some(left) = on_trial.filter(|_| self.refused) {
            let refused = "the resolver refuses the token that it has just given; see its log";
            node.board.set(Part::Token, vec![Problem::blocks("TokenRefused", refused)]);
            return left.max(SHORTEST_PAUSE);
        }
        match self.obtain(service_account, now) {
            Ok(()) => {
                (self.refused, self.obtained_at, self.failures) = (false, Some(now), 0);
                node.board.set(Part::Token, Vec::new());
                tracing::info!("{}: a new token", node.file.resolver.token_file.display());
                node.signals.ring(Duty::Inventory);
                node.signals.ring(Duty::Reap);
                node.interval()
            }
            Err(error) => {
                let problem = match worth {
                    Worth::Expired => Problem::blocks("NoToken", error.to_string()),
                    Worth::Due | Worth::Good => Problem::noted("TokenNotRenewed", error.to_string()),
                };
                problems.push(problem);
                node.board.set(Part::Token, problems);
                self.failures = self.failures.saturating_add(1);
                around((SHORTEST_PAUSE * (1 << self.failures.min(6))).min(LONGEST_PAUSE))
            }
        }
    }

    /// Keeps the files from all others' eyes.
    fn exposed(&self) -> Vec<Problem> {
        let files = [self.token_file.clone(), self.node.here(&self.node.paths.token_record())];
        let errors = files.iter().filter_map(|file| keep_mode(file, MODE).err());
        errors.map(|error| Problem::noted("TokenExposed", error.to_string())).collect()
    }

    fn worth(&self, now: Duration) -> Worth {
        let node = self.node;
        if !fs::read_to_string(&self.token_file).is_ok_and(|token| !token.trim().is_empty()) {
            return Worth::Expired;
        }
        let record = fs::read(node.here(&node.paths.token_record())).unwrap_or_default();
        let record = serde_json::from_slice::<TokenRecord>(&record).ok();
        match (record, node.boot_id()) {
            (Some(record), Ok(boot_id)) => record.worth(&node.file.node, &boot_id, now),
            _ => Worth::Due,
        }
    }

    fn obtain(&self, service_account: &Path, now: Duration) -> Result<(), TokenError> {
        let node = self.node;
        let boot_id: BootId = node.boot_id().map_err(TokenError::Boot)?;
        let resolver = node.resolver_by(service_account.to_owned(), node.ca_file());
        let credentials =
            resolver.credentials(Instant::now() + PATIENCE).map_err(|error| match error.cause {
                Cause::Token { path, source } => {
                    TokenError::ServiceAccount { path, reason: source.to_string() }
                }
                _ => TokenError::Resolver(Box::new(error)),
            })?;
        if credentials.token.trim().is_empty() {
            return Err(TokenError::Empty);
        }
        let record = TokenRecord::new(&node.file.node, &boot_id, now, &credentials, around);
        // The token first: dying in between leaves a record by which it is renewed once more.
        keep(&self.token_file, credentials.token.as_bytes(), MODE)?;
        keep(&node.here(&node.paths.token_record()), &serde_json::to_vec(&record)?, MODE)?;
        Ok(())
    }

    /// A token that is not ours to keep: is it there?
    fn kept_by_others(&self) -> Vec<Problem> {
        match fs::read_to_string(&self.token_file) {
            Ok(_) => Vec::new(),
            Err(error) => {
                let path = self.node.file.resolver.token_file.display();
                vec![Problem::blocks("NoToken", format!("can't read the node's token {path}: {error}"))]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use knap_protocol::NodeCredentials;

    use super::*;
    use crate::agent::clock::SetClock;

    const HOUR: Duration = Duration::from_secs(3600);

    /// The resolver is away all the while: the token that came an hour after the boot is all there is.
    #[test]
    fn time_that_jumps_costs_a_renewal_and_never_a_token_that_serves() {
        let folder = tempfile::tempdir().unwrap();
        let clock = SetClock::default();
        let node = Node::for_tests(folder.path(), &clock);
        fs::write(folder.path().join("pod-token"), "of the pod").unwrap();
        let credentials = NodeCredentials { token: "t".to_owned(), expires_in_seconds: 24 * 3600 };
        let boot_id = node.boot_id().unwrap();
        let record = TokenRecord::new(&node.file.node, &boot_id, HOUR, &credentials, |half| half);
        keep(&node.paths.token_file(), b"t", 0o600).unwrap();
        keep(&node.paths.token_record(), &serde_json::to_vec(&record).unwrap(), 0o600).unwrap();
        let mut keeper = TokenKeeper::new(&node);
        let mut reason_at = |hours: u32| {
            clock.set(HOUR * hours);
            let pause = keeper.look();
            assert!(pause <= LONGEST_PAUSE * 2, "{pause:?}");
            let reason = node.board.problems().pop().map(|problem| problem.reason);
            (reason, node.board.is_fine(Part::Token))
        };
        let told = |reason: &str, serves| (Some(reason.to_owned()), serves);
        assert_eq!(reason_at(2), (None, true));
        assert_eq!(reason_at(14), told("TokenNotRenewed", true), "half of its life is over");
        assert_eq!(reason_at(0), told("TokenNotRenewed", true), "back to before it came: of unknown age");
        assert_eq!(reason_at(24 * 365), told("NoToken", false), "forward: it serves no more");
        assert_eq!(reason_at(2), (None, true), "and back");
        assert_eq!(fs::read_to_string(node.paths.token_file()).unwrap(), "t");
    }
}
