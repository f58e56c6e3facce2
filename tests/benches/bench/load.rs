//! Attach requests per second: PUT, then DELETE, over kept-alive connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use knap_protocol::{AttachReply, AttachRequest, AttachmentKey, Attempt, JsonObject, NodeName, path};
use knap_tests::{Host, class, network};
use serde::Serialize;
use serde_json::json;

use crate::connection::Connection;
use crate::statistics::Spread;

/// How long each number of connections is kept busy.
const SPELL: Duration = Duration::from_secs(6);

/// What the resolver did at one number of connections.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Pairs of PUT and DELETE, both durable.
    pub(crate) attaches_per_second: f64,
    /// Milliseconds of PUT alone.
    pub(crate) put: Spread,
    /// Answers other than 200 and 204.
    pub(crate) refused: usize,
}

/// A host whose one Network, `shop/blue`, has room for many attachments. Only its resolver is used.
pub(crate) fn roomy_host() -> Host {
    let subnets = json!([{ "cidr": "10.64.0.0/10", "prefixLength": 12 }]);
    let class = class(json!({ "provider": "bridge", "subnets": subnets }));
    let host = Host::on_disk().serving(&[class, network("shop/blue", &json!({}))], &[]);
    host.resolver.wait_ready("shop/blue");
    host
}

pub(crate) fn measure(connections: &[usize]) -> Vec<Load> {
    let host = roomy_host();
    connections.iter().map(|&connections| spell(&host, connections)).collect()
}

/// Keeps so many connections busy for a while.
pub(crate) fn spell(host: &Host, connections: usize) -> Load {
    let end = Instant::now() + SPELL;
    let refused = AtomicUsize::new(0);
    let worker = |worker: usize| {
        let mut client = Client::new(host, format!("spell-{connections}-{worker}"));
        let mut puts = Vec::new();
        while Instant::now() < end {
            let begin = Instant::now();
            let Some(attached) = client.attach() else {
                refused.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            puts.push(begin.elapsed());
            if !client.release(&attached) {
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        puts
    };
    let begin = Instant::now();
    let puts: Vec<Duration> = on_threads(host, connections, worker).into_iter().flatten().collect();
    let attaches_per_second = puts.len() as f64 / begin.elapsed().as_secs_f64();
    Load { connections, attaches_per_second, put: Spread::of(puts), refused: refused.into_inner() }
}

/// Runs workers 0.. at once, in the host's network namespace.
pub(crate) fn on_threads<T: Send>(host: &Host, count: usize, worker: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let worker = &worker;
    host.machine().enter(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || worker(number))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a worker")).collect()
        })
    })
}

/// A plugin on a node, as the resolver sees it.
pub(crate) struct Client {
    connection: Connection,
    node: NodeName,
    name: String,
    sent: usize,
}

/// What a release has to name.
pub(crate) struct Attached {
    key: AttachmentKey,
    attempt: Attempt,
    leases: Vec<String>,
}

impl Client {
    /// Each client is a node of its own, named by `name`.
    pub(crate) fn new(host: &Host, name: String) -> Self {
        let connection = Connection::open(&host.resolver.token()).expect("a connection to the resolver");
        Self { connection, node: name.parse().expect("a node's name"), name, sent: 0 }
    }

    /// Asks for a new attachment; nothing where it is refused.
    pub(crate) fn attach(&mut self) -> Option<Attached> {
        self.sent += 1;
        let container = format!("{}-{}", self.name, self.sent);
        let key = AttachmentKey {
            container_id: container.parse().expect("a container ID"),
            ifname: "net1".parse().expect("an interface's name"),
        };
        let attempt: Attempt = container.parse().expect("an attempt");
        let request = AttachRequest {
            network: "shop/blue".parse().expect("a Network's name"),
            boot_id: self.name.parse().expect("a boot ID"),
            attempt: attempt.clone(),
            deadline_seconds: 8,
            pod: None,
            args: JsonObject::new(),
            runtime_config: JsonObject::new(),
            cni_version: "1.0.0".to_owned(),
            leases: Vec::new(),
        };
        let body = serde_json::to_string(&request).expect("a request in JSON");
        let (status, body) = self.send("PUT", &path::attachment(&self.node, &key), &body);
        if status != 200 {
            return None;
        }
        let reply: AttachReply = serde_json::from_slice(&body).expect("a reply");
        Some(Attached { key, attempt, leases: reply.leases })
    }

    /// Gives an attachment back; whether that was accepted.
    pub(crate) fn release(&mut self, attached: &Attached) -> bool {
        let path = path::release(&self.node, &attached.key, &attached.attempt, &attached.leases);
        self.send("DELETE", &path, "").0 == 204
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
        self.connection.request(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }
}
