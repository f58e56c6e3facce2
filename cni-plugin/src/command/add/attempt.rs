//! One attempt, from its intent in the ledger to its result. Every step that fails undoes all before it.

use std::time::{Duration, Instant};

use knap_client::{Outcome, ResolverError};
use knap_protocol::{AttachReply, AttachRequest, CniCode, JsonObject, LedgerState};
use serde_json::Value;

use crate::budget::Budget;
use crate::cni_result::CniResult;
use crate::delegate::{Chain, Patience, Started, last_result};
use crate::failure::Failure;
use crate::fault;
use crate::ledger::{Durability, Entry, LockedAttachment, Tombstone};
use crate::release;
use crate::session::{DEL_PATIENCE, RELEASE_PATIENCE, Session};
use crate::teardown::{Scope, Teller, tear_down};
use crate::version::CniVersion;

/// An attempt under way. Its entry is in the ledger.
pub(super) struct Attempted<'a, 'b> {
    session: &'a Session<'a>,
    locked: &'a mut LockedAttachment<'b>,
    entry: Entry,
    budget: Budget,
    /// The first delegate, loaded while the ledger is synced.
    first: Option<Started>,
}

impl<'a, 'b> Attempted<'a, 'b> {
    /// Writes the intent. From here on, whoever finds the entry can undo what comes of it.
    pub(super) fn begin(
        session: &'a Session<'a>,
        locked: &'a mut LockedAttachment<'b>,
        entry: Entry,
        budget: Budget,
    ) -> Result<Self, Failure> {
        locked.write(&entry, Durability::Cached)?;
        fault::point("add.intent-written");
        Ok(Self { session, locked, entry, budget, first: None })
    }

    /// What the ledger has of it.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Asks the resolver, and takes down the answer on the disk.
    pub(super) fn ask(&mut self, request: &AttachRequest, patience: Duration) -> Result<(), Failure> {
        let until = Instant::now() + patience;
        let reply = match self.session.resolver.attach(&self.entry.key, request, until) {
            Ok(reply) => reply,
            Err(error) => return Err(self.give_up(error)),
        };
        fault::point("add.answered");
        self.take_down(reply);
        let recorded = self.load_first().and_then(|first| {
            self.first = Some(first);
            Ok(self.locked.write(&self.entry, Durability::Synced)?)
        });
        fault::point("add.recorded");
        // Nothing has run: only the lease is to be given back.
        recorded.map_err(|failure| self.undo(failure, 0))
    }

    /// Examines the whole chain, then loads the program of its first delegate.
    fn load_first(&self) -> Result<Started, Failure> {
        let delegates = self.session.delegates(Some(&self.entry));
        let chain = self.chain(&delegates);
        chain.examine(self.patience())?;
        chain.start(0, self.patience())?.ok_or_else(|| no_delegates(&self.entry))
    }

    /// Makes the links, runs the delegates, and takes down their result, at the configuration's version.
    pub(super) fn build(mut self) -> Result<JsonObject, Failure> {
        for link in &self.entry.host_links {
            if let Err(error) = self.session.links.ensure(link, &self.entry.key) {
                return Err(self.undo(error.into(), 0));
            }
        }
        fault::point("add.links-made");
        for index in 0..self.entry.plugins.len() {
            if let Err(failure) = self.run(index) {
                return Err(self.undo(failure, index + 1));
            }
            fault::point("add.delegate-ran");
        }
        self.entry.state = LedgerState::Attached;
        if let Err(error) = self.locked.write(&self.entry, Durability::Cached) {
            let ran = self.entry.plugins.len();
            return Err(self.undo(error.into(), ran));
        }
        fault::point("add.attached");
        Ok(self.entry.result.unwrap_or_default())
    }

    /// Runs one delegate. What it made so far is taken down before the next one, which may need it at DEL.
    fn run(&mut self, index: usize) -> Result<(), Failure> {
        let first = self.first.take();
        let delegates = self.session.delegates(Some(&self.entry));
        let prev = last_result(&self.entry);
        let result: CniResult = self.chain(&delegates).add(index, first, prev.as_ref(), self.patience())?;
        let version = CniVersion::parse(&self.entry.cni_version).unwrap_or(CniVersion::LATEST);
        self.entry.result = Some(result.write(version));
        if index + 1 < self.entry.plugins.len() {
            self.locked.write(&self.entry, Durability::Cached)?;
        }
        Ok(())
    }

    fn take_down(&mut self, reply: AttachReply) {
        self.entry.decision = Some(reply.id);
        self.entry.leases = reply.leases;
        self.entry.plugins = reply.plugins;
        self.entry.host_links = reply.host_links;
        self.entry.put_deadline = None;
        if let Some(mac) = reply.mac {
            self.entry.runtime_config.insert("mac".to_owned(), Value::String(mac));
        }
    }

    /// The question failed: what it may have done there is undone, and nothing is here yet.
    fn give_up(&mut self, error: ResolverError) -> Failure {
        let outcome = error.outcome;
        let failure = Failure::from(error);
        let undone = match outcome {
            Outcome::Nothing => self.locked.remove().map_err(Failure::from),
            Outcome::Perhaps => {
                self.entry.put_deadline = None;
                self.bury()
            }
            Outcome::Pending => self.bury(),
        };
        self.with_leftovers(failure, undone)
    }

    /// Undoes the first `ran` delegates, the links and the lease.
    fn undo(&mut self, failure: Failure, ran: usize) -> Failure {
        self.first = None;
        let scope = Scope {
            ran,
            patience: Patience { each: DEL_PATIENCE, until: self.budget.end() },
            teller: Teller::Nobody,
        };
        let boot = self.entry.boot_id.clone();
        let undone = tear_down(self.session, self.locked, &self.entry, &boot, scope);
        self.with_leftovers(failure, undone.map(|tombstone| self.release(tombstone)))
    }

    /// Nothing is here but the entry.
    fn bury(&mut self) -> Result<(), Failure> {
        let tombstone = self.locked.to_tombstone(&self.entry)?;
        self.release(tombstone);
        Ok(())
    }

    /// Says which Network failed, and what is left where undoing did not come to its end.
    fn with_leftovers(&self, failure: Failure, undone: Result<(), Failure>) -> Failure {
        let failure = failure.about(&format!("network {}", self.entry.network));
        match undone {
            Ok(()) => failure,
            Err(leftover) => failure.and(format_args!(
                "and not all of it could be undone ({leftover}): DEL, or `knap reap`, will finish"
            )),
        }
    }

    /// A release that fails is sent again by later calls.
    fn release(&self, tombstone: Tombstone) {
        let until = self.budget.end().min(Instant::now() + RELEASE_PATIENCE);
        let _ = release::send(self.session, tombstone, until);
    }

    fn patience(&self) -> Patience {
        Patience { each: self.session.add_timeout(), until: self.budget.delegates() }
    }

    fn chain<'c>(&'c self, delegates: &'c crate::delegate::Delegates<'c>) -> Chain<'c> {
        let netns = self.entry.netns.as_ref().map(|netns| netns.path.as_os_str()).unwrap_or_default();
        Chain::new(delegates, &self.entry, self.session.environment, netns)
    }
}

fn no_delegates(entry: &Entry) -> Failure {
    Failure::new(
        CniCode::TRY_AGAIN,
        format!("the resolver answered no delegates for network {}: see its log", entry.network),
    )
}
