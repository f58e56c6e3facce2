//! The resolver's webhook endpoint, asked as an API server would: many connections that are kept, so many reviews a second.

use std::time::{Duration, Instant};

use knap_tests::Replica;
use serde::Serialize;
use serde_json::json;

use crate::Spread;

const CLIENTS: u32 = 32;
const A_SECOND: u32 = 1000;
const SECONDS: u32 = 15;

/// How long answers took, from the moment at which they were to be asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Reviews {
    clients: u32,
    asked_a_second: u32,
    answered_a_second: f64,
    /// Not answered, or not let in.
    failed: usize,
    answer: Spread,
}

impl Reviews {
    pub(crate) fn print(&self) {
        let Self { clients, asked_a_second, answered_a_second, failed, .. } = self;
        println!(
            "\nreviews of pods, {asked_a_second} a second from {clients} connections that are kept, over TLS"
        );
        self.answer.print("answer", "p99 ≤ 20 ms");
        println!("  {:<34} {answered_a_second:>7.0} /s  ({failed} failed)", "answered");
    }
}

pub(crate) async fn measure(replica: &Replica) -> Reviews {
    let agents: Vec<_> = (0..CLIENTS).map(|_| replica.agent()).collect();
    let mut connected = Vec::new();
    for agent in agents {
        connected.push(agent.await);
    }
    let url = format!("{}/admission/pods?timeout=1s", replica.endpoint());
    let begin = Instant::now() + Duration::from_millis(200);
    let clients: Vec<_> = (0..CLIENTS)
        .zip(connected)
        .map(|(client, agent)| {
            let url = url.clone();
            std::thread::spawn(move || ask(client, &agent, &url, begin))
        })
        .collect();
    let joined = tokio::task::spawn_blocking(move || {
        clients.into_iter().map(|client| client.join().expect("a client")).collect::<Vec<_>>()
    });
    let results: Vec<_> = joined.await.expect("all clients").into_iter().flatten().collect();
    let took = begin.elapsed().as_secs_f64();
    let answered: Vec<Duration> = results.iter().flatten().copied().collect();
    Reviews {
        clients: CLIENTS,
        asked_a_second: A_SECOND,
        answered_a_second: answered.len() as f64 / took,
        failed: results.len() - answered.len(),
        answer: Spread::of(answered),
    }
}

/// One client's share, each asked at its time whether the one before was late or not.
fn ask(client: u32, agent: &ureq::Agent, url: &str, begin: Instant) -> Vec<Option<Duration>> {
    let between = Duration::from_secs(1) * CLIENTS / A_SECOND;
    let first = begin + Duration::from_secs(1) * client / A_SECOND;
    let asked = (0..A_SECOND * SECONDS / CLIENTS).map(|number| {
        let due = first + between * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let review = review(client * 1_000_000 + number);
        let mut answer = agent.post(url).send(review).ok()?;
        let body = answer.body_mut().read_to_string().ok()?;
        body.contains("\"allowed\":true").then(|| due.elapsed())
    });
    asked.collect()
}

/// About a pod as a Deployment makes it.
fn review(number: u32) -> String {
    let networks = format!("net-{},net-{}@second", number % 100, (number + 1) % 100);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "web-7d4b9c-", "labels": {"app": "web", "pod-template-hash": "7d4b9c"},
            "annotations": {"knap.github.com/networks": networks},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c", "uid": "u", "controller": true}],
        },
        "spec": {
            "containers": [{"name": "web", "image": "registry.example/web:1.2.3", "ports": [{"containerPort": 8080}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "env": (0..20).map(|n| json!({"name": format!("SETTING_{n}"), "value": "something"})).collect::<Vec<_>>()}],
            "restartPolicy": "Always", "serviceAccountName": "default", "schedulerName": "default-scheduler",
        },
    });
    let request = json!({
        "uid": format!("review-{number}"), "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "shop", "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"}, "object": pod, "dryRun": false,
    });
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
}
