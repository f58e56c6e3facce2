//! The calls of the protocol.

use std::time::{Duration, Instant};

use knap_protocol::{
    AttachReply, AttachRequest, AttachmentKey, Attempt, Inventory, NodeCredentials, NodeName, ReconcileReply,
    ReconcileRequest, ResolverAccess, StatusView, path,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::{self, Answer, Method, Request};
use crate::{Cause, Endpoint, Outcome, ResolverError};

/// The resolver, as this node asks it.
#[derive(Debug)]
pub struct Resolver {
    node: NodeName,
    access: ResolverAccess,
    endpoints: Vec<Endpoint>,
}

impl Resolver {
    /// As this node, with the files that `access` names, at these endpoints, which are its own. Connects to nothing.
    pub fn new(node: &NodeName, access: &ResolverAccess, endpoints: Vec<Endpoint>) -> Self {
        Self { node: node.clone(), access: access.clone(), endpoints }
    }

    /// Asks for an attachment. The request's deadline is set to what each endpoint may take. Where no connection comes about, the
    /// next one may be sent to another replica, or find this one restarted: a few are tried, since a sandbox costs more.
    pub fn attach(
        &self,
        key: &AttachmentKey,
        request: &AttachRequest,
        until: Instant,
    ) -> Result<AttachReply, ResolverError> {
        let path = path::attachment(&self.node, key);
        let body = |share: Duration| {
            // Whole seconds, and never none: a resolver that is asked to do it in no time does nothing.
            let seconds = u32::try_from(share.as_secs()).unwrap_or(u32::MAX).max(1);
            json(&AttachRequest { deadline_seconds: seconds, ..request.clone() })
        };
        let mut tries = TRIES.iter();
        loop {
            let (connect, pause) = match tries.next() {
                Some(&(connect, pause)) => (connect, Some(pause)),
                None => (LONGEST_CONNECT, None),
            };
            match (self.call_within(connect, Method::Put, &path, until, &body), pause) {
                (Ok(answer), _) => return read(&answer),
                (Err(error), Some(pause)) if error.never_connected() && Instant::now() + pause < until => {
                    std::thread::sleep(pause);
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    /// Tells that an attachment is no more. Repeatable.
    pub fn release(
        &self,
        key: &AttachmentKey,
        attempt: &Attempt,
        leases: &[String],
        until: Instant,
    ) -> Result<(), ResolverError> {
        let path = path::release(&self.node, key, attempt, leases);
        self.call(Method::Delete, &path, until, &|_| Vec::new()).map(drop)
    }

    /// Compares the ledger with the leases.
    pub fn reconcile(
        &self,
        request: &ReconcileRequest,
        until: Instant,
    ) -> Result<ReconcileReply, ResolverError> {
        read(&self.call(Method::Post, &path::reconcile(&self.node), until, &|_| json(request))?)
    }

    /// Exchanges the token of the agent's pod for the node's own.
    pub fn credentials(&self, until: Instant) -> Result<NodeCredentials, ResolverError> {
        read(&self.call(Method::Post, &path::credentials(&self.node), until, &|_| Vec::new())?)
    }

    /// Tells what the node has.
    pub fn inventory(&self, inventory: &Inventory, until: Instant) -> Result<(), ResolverError> {
        self.call(Method::Put, &path::inventory(&self.node), until, &|_| json(inventory)).map(drop)
    }

    /// Whether it is there, and what it says of itself.
    pub fn status(&self, until: Instant) -> Result<StatusView, ResolverError> {
        read(&self.call(Method::Get, path::STATUS, until, &|_| Vec::new())?)
    }

    /// [`Resolver::call_within`] the longest time for a connection.
    fn call(
        &self,
        method: Method,
        path: &str,
        until: Instant,
        body: &dyn Fn(Duration) -> Vec<u8>,
    ) -> Result<Answer, ResolverError> {
        self.call_within(LONGEST_CONNECT, method, path, until, body)
    }

    /// Calls one endpoint after the other until one has an answer that counts. Each gets an equal share of the time
    /// that is left, and `connect` of it to accept.
    fn call_within(
        &self,
        connect: Duration,
        method: Method,
        path: &str,
        until: Instant,
        body: &dyn Fn(Duration) -> Vec<u8>,
    ) -> Result<Answer, ResolverError> {
        let mut outcome = Outcome::Nothing;
        let mut failed = None;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let endpoints_left = u32::try_from(self.endpoints.len() - index).unwrap_or(u32::MAX);
            let share = left / endpoints_left;
            if failed.is_some() && share < SHORTEST_SHARE {
                break;
            }
            let request = Request {
                method,
                endpoint,
                path,
                body: body(share),
                timeout: share.max(SHORTEST_SHARE),
                connect,
                node: &self.node,
                access: &self.access,
            };
            let cause = match http::send(&request) {
                Ok(answer) => return Ok(answer),
                Err(cause) => cause,
            };
            tracing::debug!(endpoint = endpoint.as_str(), %cause, "a call of the resolver failed");
            outcome = outcome.max(cause.outcome());
            let is_final = !cause.is_worth_another_endpoint();
            failed = Some(cause);
            if is_final {
                break;
            }
        }
        let no_endpoint = || Cause::Unreachable {
            endpoint: "(none)".to_owned(),
            reason: "the node file names no endpoint".to_owned(),
        };
        Err(ResolverError { cause: failed.unwrap_or_else(no_endpoint), outcome })
    }
}

/// A resolver that does not accept within this is not there.
const LONGEST_CONNECT: Duration = Duration::from_secs(2);

/// How long each try of a connection but the last may take, and the pause after it. Short, since all that it helps against
/// is: a replica that died and is still among those whom a Service calls, or a packet or two that were lost. One that is only
/// busy gets the longest time once. All five tries fit in the time of an ADD's question: with one of two replicas dark, each
/// try meets that one half of the time.
pub(crate) const TRIES: [(Duration, Duration); 4] = [
    (Duration::from_secs(1), Duration::from_millis(100)),
    (Duration::from_secs(1), Duration::from_millis(200)),
    (Duration::from_secs(1), Duration::from_millis(300)),
    (LONGEST_CONNECT, Duration::from_millis(400)),
];

/// Less than this is not worth a connection; and a call whose time is over gets this much, to say so properly.
const SHORTEST_SHARE: Duration = Duration::from_millis(50);

/// What an answer of success says.
fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ResolverError> {
    serde_json::from_slice(&answer.body).map_err(|error| ResolverError {
        cause: answer.garbage(error.to_string()),
        outcome: Outcome::Perhaps,
    })
}

/// Bodies are structs of strings, numbers and maps, which always have a JSON form.
fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}
