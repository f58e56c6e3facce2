//! Who may ask what: every forbidden call is answered with the reason, and nothing is written.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use knap_protocol::{AUDIENCE, NodeCredentials, Problem};
use knap_tests::{ADMIN, AGENT, GENEROUS, KubernetesApi, NOBODY, Objects, Replica, Reply};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

const NAMESPACE: &str = "default";
const ATTACHMENT: &str = "/v1/nodes/n1/attachments/c1/net1";
const RECONCILE: &str = "/v1/nodes/n1/attachments:reconcile";

async fn start() -> (KubernetesApi, Replica, Objects) {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let replica = api.start_replica().await;
    let objects = api.objects().await;
    for namespace in ["shop", "bank"] {
        objects.namespace(namespace, &[]).await;
    }
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.ready("shop/blue").await;
    (api, replica, objects)
}

/// A PUT's body for a pod, or for none.
fn body(pod: &Value) -> Value {
    let mut body = json!({
        "network": "shop/blue", "bootID": "boot-1", "attempt": "try-1", "deadlineSeconds": 9, "cniVersion": "1.0.0"
    });
    if !pod.is_null() {
        body["pod"] = pod.clone();
    }
    body
}

fn named(pod: &Pod) -> Value {
    json!({"namespace": pod.namespace(), "name": pod.name_any(), "uid": pod.uid()})
}

fn ledger() -> Value {
    json!({"bootID": "boot-1", "entries": []})
}

fn refused(what: &str, reply: Option<Reply>, status: u16, words: &[&str]) -> Problem {
    let reply = reply.unwrap_or_else(|| panic!("{what}: no answer"));
    assert_eq!(reply.status, status, "{what}: {reply:?}");
    let problem: Problem = reply.json();
    for word in words {
        assert!(problem.detail.contains(word), "{what}: no {word:?} in {}", problem.detail);
    }
    problem
}

async fn delete<K>(objects: &Objects, name: &str)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api = objects.in_namespace::<K>(NAMESPACE);
    api.delete(name, &DeleteParams::default()).await.unwrap();
    objects.eventually("it is gone", async || api.get_opt(name).await.unwrap().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_forbidden_call_is_answered_with_the_reason_and_nothing_is_written() {
    let (api, mut replica, objects) = start().await;
    let own = replica.node_token("n1").await.unwrap();
    let other = replica.node_token("n2").await.unwrap();
    let agent = objects.agent("n1").await.unwrap();
    let projected = objects.projected_token(AGENT, Some(&agent), Some(AUDIENCE)).await.unwrap();
    let elsewhere_meant = objects.projected_token(AGENT, Some(&agent), None).await.unwrap();
    let unbound = objects.projected_token(AGENT, None, Some(AUDIENCE)).await.unwrap();
    let stranger = objects.pod("default/stranger", "n1").await;
    let strangers = objects.projected_token("default", Some(&stranger), Some(AUDIENCE)).await.unwrap();
    let gone_agent = objects.pod_of(NAMESPACE, AGENT, "gone-agent", "n1").await.unwrap();
    let gone_agents = objects.projected_token(AGENT, Some(&gone_agent), Some(AUDIENCE)).await.unwrap();
    delete::<Pod>(&objects, "gone-agent").await;
    let mut forged = own.clone().into_bytes();
    *forged.last_mut().unwrap() ^= 1;
    let forged = String::from_utf8(forged).unwrap();

    let here = named(&objects.pod("shop/here", "n1").await);
    let there = named(&objects.pod("shop/there", "n2").await);
    let banks = named(&objects.pod("bank/teller", "n1").await);
    let with_uid = |uid: &str| json!({"namespace": "shop", "name": "here", "uid": uid});
    let (pending, gone) = (
        json!({"namespace": "shop", "name": "pending"}),
        json!({"namespace": "shop", "name": "gone", "uid": "u1"}),
    );
    objects.pod_with("shop", "default", "pending", json!({})).await.unwrap();

    // The controller counts nodes in the statuses of Networks now and then; that write is none of the calls'.
    let both = async || (objects.get_network("shop/blue").await?.status?.nodes?.total == 2).then_some(());
    objects.eventually("the nodes are counted", both).await;
    let state = async || (objects.leases().await, objects.reservations().await);
    let (before, counted) = (state().await, api.counters().await);
    let (some, none) = (|token: &String| Some(token.clone()), None);
    let put = |token: Option<String>, pod: &Value| (token, "PUT", ATTACHMENT, Some(body(pod)));
    let exchange = |token: Option<String>, path: &'static str| (token, "POST", path, Some(json!({})));
    let read = |token: Option<String>, path: &'static str| (token, "GET", path, None);
    let credentials = "/v1/nodes/n1/credentials";
    let cases: Vec<(&str, _, u16, &[&str])> = vec![
        ("no token", put(none.clone(), &here), 401, &["carries no token", "n1"]),
        ("a token of nobody", put(Some("secret".into()), &here), 401, &["not one that Knap makes", "agent"]),
        (
            "a service account's token",
            put(some(&projected), &here),
            401,
            &["not one that Knap makes", "POST"],
        ),
        ("an administrator's token", put(Some(ADMIN.into()), &here), 401, &["not one that Knap makes"]),
        ("a forged token", put(some(&forged), &here), 401, &["forged", "agent"]),
        ("another node's token", put(some(&other), &here), 403, &["that of n2", "about n1"]),
        ("another node's reconcile", (some(&other), "POST", RECONCILE, Some(ledger())), 403, &["n2", "n1"]),
        (
            "another node's release",
            (some(&other), "DELETE", "/v1/nodes/n1/attachments/c1/net1?attempt=try-1", None),
            403,
            &["n2", "n1"],
        ),
        ("no pod", put(some(&own), &Value::Null), 403, &["names no pod", "CNI_ARGS"]),
        ("a pod that is gone", put(some(&own), &gone), 403, &["no pod shop/gone", "node n1"]),
        ("a pod that is not bound", put(some(&own), &pending), 403, &["shop/pending", "not bound"]),
        ("a pod elsewhere", put(some(&own), &there), 403, &["shop/there", "node n2", "node n1"]),
        ("another UID", put(some(&own), &with_uid("u9")), 403, &["shop/here", "u9"]),
        (
            "another namespace",
            put(some(&own), &json!({"namespace": "bank", "name": "here", "uid": here["uid"]})),
            403,
            &["no pod bank/here"],
        ),
        (
            "a Network of another namespace",
            put(some(&own), &banks),
            403,
            &["shop/blue", "not shared", "bank"],
        ),
        (
            "an exchange without a token",
            exchange(none.clone(), credentials),
            401,
            &["carries no token", "projected"],
        ),
        ("an exchange of a node token", exchange(some(&own), credentials), 401, &["service-account token"]),
        (
            "an exchange for another audience",
            exchange(some(&elsewhere_meant), credentials),
            401,
            &["audience knap-resolver"],
        ),
        (
            "an exchange by an administrator",
            exchange(Some(ADMIN.into()), credentials),
            401,
            &["audience knap-resolver"],
        ),
        (
            "an exchange by nobody",
            exchange(Some("secret".into()), credentials),
            401,
            &["audience knap-resolver"],
        ),
        (
            "an exchange by another account",
            exchange(some(&strangers), credentials),
            403,
            &["default:default", "default/knap-node"],
        ),
        ("an exchange without a pod", exchange(some(&unbound), credentials), 403, &["not bound to a pod"]),
        (
            "an exchange by a pod that is gone",
            exchange(some(&gone_agents), credentials),
            401,
            &["audience knap-resolver"],
        ),
        (
            "an exchange for another node",
            exchange(some(&projected), "/v1/nodes/n2/credentials"),
            403,
            &["runs on n1", "about n2"],
        ),
        ("a reader without a token", read(none.clone(), "/v1/networks"), 401, &["nonResourceURLs"]),
        ("a node that reads", read(some(&own), "/metrics"), 401, &["own paths alone"]),
        (
            "a service account that reads",
            read(some(&projected), "/metrics"),
            401,
            &["API server does not take"],
        ),
        (
            "a user without the right",
            read(Some(NOBODY.into()), "/v1/attachments"),
            403,
            &["nobody may not get /v1/attachments"],
        ),
        ("an unknown path", read(Some(NOBODY.into()), "/v2"), 403, &["/v2"]),
    ];
    for (what, (token, method, path, body), status, words) in cases {
        let reply = replica.ask_as(token, method, path, body).await;
        let problem = refused(what, reply, status, words);
        replica.wait_logged(&problem.id).await;
        assert_eq!(problem.cni_code.0, if status == 401 { 11 } else { 7 }, "{what}");
    }
    assert_eq!(state().await, before, "nothing is written");
    let since = api.counters().await.since(&counted);
    for resource in ["networkleases", "reservations", "nodeinventories", "networks"] {
        for verb in ["POST", "PUT", "PATCH", "DELETE"] {
            assert_eq!(since.count(verb, resource), 0, "{verb} {resource}");
        }
    }
    let metrics = replica.ask("GET", "/metrics", None).await.unwrap().body;
    for reason in ["forged", "other_node", "pod_elsewhere", "not_the_agent", "not_allowed"] {
        assert!(
            metrics.contains(&format!("knap_denied_requests_total{{reason=\"{reason}\"}}")),
            "{reason}: {metrics}"
        );
    }
    // The same, allowed.
    let attached = replica.ask_as(some(&own), "PUT", ATTACHMENT, Some(body(&here))).await.unwrap();
    assert_eq!(attached.status, 200, "{attached:?}");
    // What is logged is whole when it has ended.
    replica.stop().await;
    for secret in [&own, &other, &projected, &strangers] {
        assert!(!replica.log().contains(secret.as_str()), "no log shows a token");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn static_pods_and_those_without_a_uid_are_known() {
    let (_api, replica, objects) = start().await;
    let manifest = json!({
        "metadata": {"annotations": {"kubernetes.io/config.hash": "hash-1"}}, "spec": {"nodeName": "n1"}
    });
    let mirror = objects.pod_with("shop", "default", "etcd-n1", manifest).await.unwrap();
    for (container, uid) in [("c1", Some("hash-1")), ("c2", mirror.metadata.uid.as_deref()), ("c3", None)] {
        let pod = json!({"pod": {"namespace": "shop", "name": "etcd-n1", "uid": uid}});
        let reply = replica.attached("n1", container, pod).await;
        let lease =
            objects.leases().await.into_iter().find(|lease| lease.name_any() == reply.leases[0]).unwrap();
        let holder = lease.spec.holders[0].pod.clone().unwrap();
        assert_eq!(holder.uid.as_deref(), uid.or(mirror.metadata.uid.as_deref()), "{container}");
    }
}

/// What a node hears that asks with this token.
async fn shown(replica: &Replica, token: &str) -> Reply {
    replica.ask_as(Some(token.to_owned()), "POST", RECONCILE, Some(ledger())).await.unwrap()
}

async fn until_void(objects: &Objects, replicas: &[Replica], token: &str, word: &str) {
    for replica in replicas {
        let void = async || Some(shown(replica, token).await).filter(|reply| reply.status == 401);
        let reply = objects.eventually("the token is void", void).await;
        assert!(reply.body.contains(word), "{reply:?}");
    }
}

async fn new_token(replica: &Replica) -> String {
    replica.forget_node_token("n1");
    replica.node_token("n1").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_outlive_the_agents_pod_and_the_api_server_and_are_revoked_in_three_ways() {
    let (mut api, first, objects) = start().await;
    let replicas = [first, api.start_replica().await];
    let token = replicas[0].node_token("n1").await.unwrap();
    for replica in &replicas {
        assert_eq!(shown(replica, &token).await.status, 200);
    }
    delete::<Pod>(&objects, &format!("{AGENT}-n1")).await;
    for replica in &replicas {
        assert_eq!(shown(replica, &token).await.status, 200, "it outlives the agent's pod");
    }

    let nodes = Api::<Node>::all(objects.client.clone());
    let annotate = async |value: Value| {
        let patch = json!({"metadata": {"annotations": {"knap.github.com/node-tokens-not-before": value}}});
        nodes.patch("n1", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    };
    annotate(json!("2999-01-01T00:00:00Z")).await;
    until_void(&objects, &replicas, &token, "2999-01-01").await;
    annotate(json!(null)).await;
    let good = async |token: &str| {
        for replica in &replicas {
            let ok = async || (shown(replica, token).await.status == 200).then_some(());
            objects.eventually("the token is good", ok).await;
        }
    };
    good(&token).await;

    nodes.delete("n1", &DeleteParams::default()).await.unwrap();
    until_void(&objects, &replicas, &token, "no Node n1").await;
    objects.node("n1").await.unwrap();
    until_void(&objects, &replicas, &token, "made anew").await;
    let second = new_token(&replicas[0]).await;
    good(&second).await;

    // A replica makes another at once.
    let secrets = objects.in_namespace::<Secret>(NAMESPACE);
    secrets.delete("knap-node-tokens", &DeleteParams::default()).await.unwrap();
    until_void(&objects, &replicas, &second, "not in use").await;
    let third = new_token(&replicas[1]).await;
    good(&third).await;

    api.kill_server();
    for replica in &replicas {
        let reply = shown(replica, &third).await;
        assert!(reply.status == 200 || reply.status == 503, "{reply:?}");
        assert!(!reply.body.contains("token"), "it is known all the same: {reply:?}");
        let stale = shown(replica, &second).await;
        assert!(stale.status == 503 && stale.body.contains("can't be read"), "{stale:?}");
        let exchange = replica.exchange("n1", Some("whatever".to_owned())).await.unwrap();
        assert_eq!(exchange.status, 503, "{exchange:?}");
    }
    api.restart_server().await;
    good(&third).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_while_requests_flow_and_tokens_expire() {
    let (api, _leader, objects) = start().await;
    let anew = || async {
        let secrets = objects.in_namespace::<Secret>(NAMESPACE);
        let held = secrets.get("knap-node-tokens").await.unwrap().data.unwrap();
        let held: Value = serde_json::from_slice(&held["keys.json"].0).unwrap();
        let ids = held["keys"].as_array().unwrap().iter();
        ids.map(|key| key["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    // Tokens of eight seconds, a key every six, known for two before it signs.
    let mut replicas: Vec<Replica> =
        (0..2).map(|_| api.replica(&[]).with("KNAP_NODE_TOKEN_SECONDS", "8,6,2")).collect();
    replicas.iter_mut().for_each(Replica::start);
    for replica in &replicas {
        replica.wait_ready().await;
    }
    let agent = objects.agent("n1").await.unwrap();
    let projected = objects.projected_token(AGENT, Some(&agent), Some(AUDIENCE)).await.unwrap();
    let exchanged = async |replica: &Replica| {
        let reply = replica.exchange("n1", Some(projected.clone())).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json::<NodeCredentials>()
    };
    let (begin, mut seen, mut requests) = (Instant::now(), BTreeSet::new(), 0);
    let first = exchanged(&replicas[0]).await;
    assert_eq!(first.expires_in_seconds, 8);
    while seen.len() < 4 {
        assert!(begin.elapsed() < GENEROUS, "{seen:?}");
        seen.extend(anew().await);
        for (signs, verifies) in [(0, 1), (1, 0)] {
            let token = exchanged(&replicas[signs]).await.token;
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until {
                let reply = shown(&replicas[verifies], &token).await;
                assert_eq!(reply.status, 200, "after {requests}: {reply:?}");
                requests += 1;
            }
        }
    }
    assert!(requests > 50, "{requests}");
    let expired = shown(&replicas[0], &first.token).await;
    let words = ["expired", "n1"];
    let gone = expired.body.contains("not in use");
    assert!(
        expired.status == 401 && (gone || words.iter().all(|word| expired.body.contains(word))),
        "{expired:?}"
    );
    // One that is made in its key's last moments may outlive the key by a look.
    let says_so = async || {
        let last = exchanged(&replicas[0]).await.token;
        let over = async || Some(shown(&replicas[0], &last).await).filter(|reply| reply.status == 401);
        let over = objects.eventually("it expires", over).await;
        assert!(over.body.contains("n1 has expired at") || over.body.contains("not in use"), "{over:?}");
        over.body.contains("the node token of n1 has expired at").then_some(())
    };
    objects.eventually("a token's end is told", says_so).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_says_why_it_is_not_attached_and_how_often() {
    let (api, replica, objects) = start().await;
    let pod = objects.pod("shop/web-0", "n1").await;
    let there = objects.pod("shop/there", "n2").await;
    let mut decisions = Vec::new();
    for attempt in 0..5 {
        let request =
            json!({"network": "shop/none", "attempt": format!("try-{attempt}"), "pod": named(&pod)});
        let reply = replica.attach("n1", &format!("c{attempt}"), request).await;
        decisions.push(refused("no Network", reply, 404, &["shop/none"]).id);
    }
    let foreign = replica.attach("n1", "c9", json!({"pod": named(&there)})).await;
    let foreign = refused("another node's pod", foreign, 403, &["shop/there"]).id;

    let events = objects.in_namespace::<Event>("shop");
    let about = async |pod: &Pod| {
        let all = events.list(&ListParams::default()).await.unwrap().items;
        let uid = pod.uid();
        all.into_iter()
            .filter(|event| event.regarding.as_ref().is_some_and(|about| about.uid == uid))
            .collect::<Vec<_>>()
    };
    let series = async || about(&pod).await.into_iter().find(|event| event.series.is_some());
    let event = objects.eventually("the Event of a series", series).await;
    let note = event.note.clone().unwrap();
    assert!(note.contains("shop/none") && note.contains("node n1") && note.contains(&decisions[0]), "{note}");
    assert_eq!(event.reason.as_deref(), Some("UnknownNetwork"));
    assert_eq!(event.series.as_ref().unwrap().count, 2, "the others come with the next minute");
    assert_eq!(event.annotations()["knap.github.com/decision"], decisions[1]);
    assert_eq!(about(&pod).await.len(), 1, "one Event, however often it is tried");

    let told = async || about(&there).await.into_iter().next();
    let event = objects.eventually("the Event on the other pod", told).await;
    let note = event.note.unwrap();
    assert!(note.contains("bound to node n2") && note.contains(&foreign), "{note}");
    let asked = api.asked_by_resolvers();
    assert_eq!(asked.get("create events"), Some(&false), "by a right of the chart: {asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_json_has_the_decision_that_an_answer_names() {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let mut replica = api.start_replicas_with(1, &["--log-format=json"]).await.pop().unwrap();
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    let refusal = refused(
        "no Network",
        replica.attach("n1", "c1", json!({"network": "shop/none"})).await,
        404,
        &["shop/none"],
    );
    replica.wait_logged(&refusal.id).await;
    replica.stop().await;
    let log = replica.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        assert!(["timestamp", "level", "message"].iter().all(|key| line[key].is_string()), "{line}");
    }
    let line = lines.iter().find(|line| line["message"] == "refused").expect("a line of the refusal");
    let of = |key: &str| line[key].as_str().unwrap_or_default();
    assert_eq!((of("id"), of("network"), of("node")), (refusal.id.as_str(), "shop/none", "n1"), "{line}");
    assert!(of("refusal").contains("shop/none") && of("level") == "WARN", "{line}");
}
