//! Pods that a real scheduler places and a real kubelet starts, with interfaces by Knap.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use knap_api::NetworkLease;
use knap_tests::binaries::{another_knap, knap_installer, strip};
use knap_tests::nodes::{Cluster, network_status};
use knap_tests::{Call, GENEROUS, SELDOM, eventually, thin_config};
use serde_json::{Value, json};

/// Makes a Network of the built-in class for bridges, in a namespace of its own.
async fn make_network(cluster: &Cluster, network: &str) {
    let (namespace, _) = network.split_once('/').unwrap();
    let objects = cluster.api.objects().await;
    objects.namespace(namespace, &[]).await;
    objects.network(network, json!({ "provider": "bridge" })).await;
    objects.network_with(network, "Published", "True", "").await;
}

fn asking(networks: &str) -> Value {
    json!({ "k8s.v1.cni.cncf.io/networks": networks })
}

#[tokio::test]
async fn a_pod_runs_and_reaches_the_api_server() {
    let cluster = Cluster::shared().await;
    cluster.api.kubectl_ok("create namespace plain", "");
    cluster.create_pod("plain/a", &json!({}));
    let pod = cluster.pod_ready("plain/a").await;
    assert_eq!(cluster.addresses("plain/a", "eth0").len(), 1);
    assert_eq!(network_status(&pod).len(), 1, "the default network alone");
    assert!(cluster.reaches("plain/a", "10.99.0.1"));
    cluster.delete_pod("plain/a");
}

#[tokio::test]
async fn two_pods_meet_on_a_network() {
    let cluster = Cluster::shared().await;
    make_network(&cluster, "shop/blue").await;
    for pod in ["shop/a", "shop/b"] {
        cluster.create_pod(pod, &asking("blue"));
    }
    let first = cluster.pod_ready("shop/a").await;
    cluster.pod_ready("shop/b").await;

    let objects = cluster.api.objects().await;
    let addresses = cluster.addresses("shop/b", "net1");
    let lease = objects
        .leases()
        .await
        .into_iter()
        .find(|lease| lease.spec.holders[0].pod.as_ref().unwrap().name == "b");
    assert_eq!(addresses, lease.unwrap().spec.addresses, "the kernel has what the lease says");
    assert!(cluster.reaches("shop/a", &addresses[0]), "{addresses:?}");

    let status = network_status(&first);
    assert_eq!((&status[1]["name"], &status[1]["interface"]), (&json!("shop/blue"), &json!("net1")));
    assert!(
        cluster.addresses("shop/a", "net1")[0].starts_with(status[1]["ips"][0].as_str().unwrap()),
        "{status:?}"
    );

    for pod in ["shop/a", "shop/b"] {
        cluster.delete_pod(pod);
    }
    cluster.assert_nothing_left("shop/blue").await;
}

#[tokio::test]
async fn knaps_annotation_alone_attaches_a_pod() {
    let cluster = Cluster::shared().await;
    make_network(&cluster, "plainly/blue").await;
    cluster.create_pod("plainly/a", &json!({ "knap.github.com/networks": "blue@blue0" }));
    let pod = cluster.pod_ready("plainly/a").await;
    let status = network_status(&pod);
    assert_eq!((&status[1]["name"], &status[1]["interface"]), (&json!("plainly/blue"), &json!("blue0")));
    let leases = cluster.api.objects().await.leases().await;
    let lease = leases.iter().find(|lease| lease.spec.network.namespace == "plainly").unwrap();
    assert_eq!(cluster.addresses("plainly/a", "blue0"), lease.spec.addresses);
    cluster.delete_pod("plainly/a");
    cluster.assert_nothing_left("plainly/blue").await;
}

#[tokio::test]
async fn a_pod_ends_while_the_resolver_is_down() {
    let cluster = Cluster::alone().await;
    make_network(&cluster, "outage/blue").await;
    cluster.create_pod("outage/a", &asking("blue"));
    cluster.pod_ready("outage/a").await;
    cluster.stop_resolver();

    cluster.delete_pod("outage/a");
    let ledger = cluster.node().ledger();
    eventually("DEL has left a tombstone alone", || {
        ((ledger.entries().len(), ledger.tombstones().len()) == (0, 1)).then_some(())
    });

    cluster.start_resolver().await;
    cluster.assert_nothing_left("outage/blue").await;
}

/// No runtime sends a DEL: what goes is undone by the agent, from its pod, in the namespace of a pod that runs on.
#[tokio::test]
async fn what_a_quarantined_node_runs_is_undone_there() {
    let cluster = Cluster::alone().await;
    make_network(&cluster, "cut/blue").await;
    cluster.create_pod("cut/off", &asking("blue"));
    cluster.pod_ready("cut/off").await;
    let inventory = format!("nwi {}", cluster.node().name);
    cluster.api.kubectl_ok(&format!("annotate {inventory} knap.github.com/quarantine=smoke"), "");
    cluster.assert_nothing_left("cut/blue").await;
    assert_eq!(cluster.interfaces("cut/off"), ["eth0", "lo"], "the pod runs on without it");

    cluster.api.kubectl_ok(&format!("annotate {inventory} knap.github.com/quarantine-"), "");
    cluster.create_pod("cut/back", &asking("blue"));
    cluster.pod_ready("cut/back").await;
    assert_eq!(cluster.addresses("cut/back", "net1").len(), 1);
    for pod in ["cut/off", "cut/back"] {
        cluster.delete_pod(pod);
    }
    cluster.assert_nothing_left("cut/blue").await;
    cluster.wait_knap_ready().await;
}

/// A minute is what is promised; a machine that is four times slower has four.
const A_SLOW_MINUTE: Duration = Duration::from_secs(240);

#[tokio::test]
async fn after_a_reboot_nothing_is_stale_and_pods_are_back() {
    let mut cluster = Cluster::alone().await;
    make_network(&cluster, "reboot/blue").await;
    for pod in ["reboot/gone", "reboot/back"] {
        cluster.create_pod(pod, &asking("blue"));
        cluster.pod_ready(pod).await;
    }
    let objects = cluster.api.objects().await;
    let before = objects.leases().await;
    assert_eq!(before.len(), 2);
    let network = objects.get_network("reboot/blue").await.unwrap();
    let bridge = network.status.unwrap().segment.unwrap().bridge.unwrap();

    cluster.power_off(0);
    cluster.api.kubectl_ok("delete pod -n reboot gone --grace-period=0 --force", "");
    let booted = Instant::now();
    cluster.boot(0);

    // No DEL has come, and none will: leases, ledger and links are those of the pod that is back, all at one time.
    let new_boot = |lease: &NetworkLease| {
        let holders = &lease.spec.holders;
        holders.iter().all(|holder| holder.boot_id != before[0].spec.holders[0].boot_id)
    };
    let after = objects
        .eventually_within(A_SLOW_MINUTE, SELDOM, "nothing is stale, a minute after the boot", async || {
            let leases = objects.leases().await;
            let ledger = cluster.node().ledger();
            let files = (ledger.entries().len(), ledger.tombstones().len(), ledger.corrupt().len());
            let ports =
                cluster.node().machine().network().run("ip", &["-o", "link", "show", "master", &bridge]);
            let ports = String::from_utf8_lossy(&ports.stdout).lines().count();
            let [lease] = leases.as_slice() else { return None };
            let settled = new_boot(lease) && files == (1, 0, 0) && ports == 1;
            // The API server may have the pod ready as it was before.
            let runs = || {
                cluster.addresses_if_it_runs("reboot/back", "net1").as_ref() == Some(&lease.spec.addresses)
            };
            (settled && runs()).then(|| lease.clone())
        })
        .await;
    println!("nothing was stale, and a pod was back, {:?} after the boot", booted.elapsed());

    // An address that the reboot has freed is there for who asks for it.
    let freed = before.iter().map(|lease| lease.spec.addresses.clone());
    let freed = freed.into_iter().find(|addresses| *addresses != after.spec.addresses).unwrap();
    let request = json!([{ "name": "blue", "ips": freed }]);
    cluster.create_pod("reboot/new", &asking(&request.to_string()));
    cluster.pod_ready("reboot/new").await;
    let new = cluster.addresses("reboot/new", "net1");
    assert_eq!(new, freed.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(cluster.reaches("reboot/back", &new[0]), "{new:?}");
    for pod in ["reboot/new", "reboot/back"] {
        cluster.delete_pod(pod);
    }
    cluster.assert_nothing_left("reboot/blue").await;
    cluster.wait_knap_ready().await;
}

#[tokio::test]
async fn a_pod_waits_as_pending_with_the_reason_until_a_node_can_serve_it() {
    let cluster = Cluster::shared().await;
    let objects = cluster.api.objects().await;
    let subnets = json!([{ "cidr": "10.77.0.0/16", "prefixLength": 24 }]);
    let class = json!({ "provider": "macvlan", "uplinks": [{ "interface": "late0" }], "subnets": subnets });
    objects.class("late", class).await;
    objects.namespace("waits", &[]).await;
    objects.network("waits/blue", json!({ "class": "late" })).await;
    objects.network_with("waits/blue", "Published", "True", "").await;
    cluster.create_pod("waits/a", &json!({ "knap.github.com/networks": "blue" }));
    let pods = objects.in_namespace::<Pod>("waits");
    let status = objects
        .eventually("the scheduler has looked at the pod", async || {
            let status = pods.get("a").await.unwrap().status?;
            let conditions = status.conditions.clone().unwrap_or_default();
            conditions.iter().any(|condition| condition.type_ == "PodScheduled").then_some(status)
        })
        .await;
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let conditions = status.conditions.unwrap();
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled").unwrap();
    assert_eq!((scheduled.status.as_str(), scheduled.reason.as_deref()), ("False", Some("Unschedulable")));
    let message = scheduled.message.as_deref().unwrap_or_default();
    assert!(message.contains("node affinity") || message.contains("affinity/selector"), "{message}");
    let events = "get events -n waits --field-selector reason=FailedScheduling -o name";
    cluster.api.kubectl_until("an Event says so too", events, |events| (!events.is_empty()).then_some(()));

    let network = cluster.node().machine().network();
    network.ip(&["link", "add", "late0", "type", "veth", "peer", "name", "late1"]);
    for name in ["late0", "late1"] {
        network.ip(&["link", "set", name, "up"]);
    }
    cluster.wait_nodes_labelled("late");
    cluster.pod_ready("waits/a").await;
    assert_eq!(cluster.addresses("waits/a", "net1").len(), 1);
    cluster.delete_pod("waits/a");
    cluster.assert_nothing_left("waits/blue").await;
    network.ip(&["link", "del", "late0"]);
}

const REPLACEMENTS: usize = 1000;

/// Ends what runs beside the replacements, whichever of them ends first and however.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What runs beside the replacements: it goes on until `done`, and counts.
#[derive(Default)]
struct Beside {
    done: AtomicBool,
    added: AtomicUsize,
    pods: AtomicUsize,
}

impl Beside {
    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    fn is_enough(&self) -> bool {
        self.added.load(Ordering::SeqCst) > REPLACEMENTS / 10 && self.pods.load(Ordering::SeqCst) > 4
    }
}

/// ADDs and DELs by the plugin in the runtime's folder for the pod `upgrade/steady`; how long each ADD took.
fn attach_again_and_again(cluster: &Cluster, name: &str, uid: &str, beside: &Beside) -> Vec<Duration> {
    let (node, config) = (cluster.node(), thin_config("upgrade/blue", "1.0.0"));
    let _ends = Ends(&beside.done);
    let sandbox = node.make_sandbox(name);
    let call = |command| Call::new(command, name, &config).netns(&sandbox).pod("upgrade", "steady", uid);
    let mut added = Vec::new();
    while !beside.is_done() {
        let begun = Instant::now();
        node.call(&call("ADD")).result();
        added.push(begun.elapsed());
        node.call(&call("DEL")).quiet();
        beside.added.fetch_add(1, Ordering::SeqCst);
    }
    node.remove_sandbox(name);
    added
}

/// Pods that the kubelet starts and ends, two at a time, one of which reaches the other.
fn run_pods_again_and_again(cluster: &Cluster, beside: &Beside) {
    let _ends = Ends(&beside.done);
    while !beside.is_done() {
        let pods = beside.pods.load(Ordering::SeqCst);
        let names = [format!("a{pods}"), format!("b{pods}")];
        let [one, other] = names.each_ref().map(|name| format!("upgrade/{name}"));
        for pod in [&one, &other] {
            cluster.create_pod(pod, &asking("blue"));
        }
        cluster.api.kubectl_ok("wait pods -n upgrade --all --for=condition=Ready --timeout=180s", "");
        assert!(cluster.reaches(&one, &cluster.addresses(&other, "net1")[0]));
        cluster.api.kubectl_ok(&format!("delete pods -n upgrade {} --timeout=180s", names.join(" ")), "");
        beside.pods.fetch_add(2, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn while_the_plugin_is_replaced_a_thousand_times_no_pod_notices() {
    let cluster = Cluster::alone().await;
    make_network(&cluster, "upgrade/blue").await;
    cluster.create_pod("upgrade/steady", &asking("blue"));
    let uid = cluster.pod_ready("upgrade/steady").await.metadata.uid.unwrap();
    let address = cluster.addresses("upgrade/steady", "net1");
    // It would put its own version back, and has the lock of who may install.
    cluster.stop_agents();

    let plugins = ["one", "two"].map(|name| another_knap(cluster.folder(), name));
    let installer = cluster.folder().join("installer");
    strip(&knap_installer(), &installer);
    let (cluster, beside, begun) = (&*cluster, &Beside::default(), Instant::now());
    let (replaced, added) = std::thread::scope(|scope| {
        let adding = ["direct-0", "direct-1"]
            .map(|name| (name, uid.clone()))
            .map(|(name, uid)| scope.spawn(move || attach_again_and_again(cluster, name, &uid, beside)));
        let running = scope.spawn(|| run_pods_again_and_again(cluster, beside));
        let replacing = scope.spawn(|| {
            let _ends = Ends(&beside.done);
            let enough = || beside.is_enough() || begun.elapsed() > GENEROUS;
            let goes_on = |number: &usize| !beside.is_done() && (*number < REPLACEMENTS || !enough());
            (0..)
                .take_while(goes_on)
                .map(|number| cluster.node().replace_knap(&installer, &plugins[number % 2]))
                .count()
        });
        let added = adding.map(|thread| thread.join().unwrap()).concat();
        running.join().unwrap();
        (replacing.join().unwrap(), added)
    });
    let pods = beside.pods.load(Ordering::SeqCst);
    println!("{replaced} replacements, {} ADDs and DELs, {pods} pods in {:?}", added.len(), begun.elapsed());
    println!("the slowest ADD took {:?}", added.iter().max());
    assert!(replaced >= REPLACEMENTS && beside.is_enough());
    let events =
        cluster.api.kubectl_ok("get events -n upgrade -o custom-columns=REASON:.reason,:.message", "");
    // By Multus' words: Knap failed, or was not found, or could not be run. Other failures are others': of the bridge of the pods'
    // default network where two DELs of one sandbox meet, and of whoever is late on a slow machine.
    let failed = |line: &&str| {
        let of_sandbox = line.starts_with("FailedCreatePodSandBox") || line.starts_with("FailedKillPod");
        of_sandbox && [":knap]", "\"knap\"", "run knap"].iter().any(|words| line.contains(words))
    };
    assert!(events.contains("Started"), "{events}");
    assert_eq!(events.lines().filter(failed).collect::<Vec<_>>(), [""; 0]);

    cluster.start_agents().await;
    assert_eq!(cluster.node().knap_files(), [".knap.previous", "knap"]);
    assert_eq!(
        cluster.addresses("upgrade/steady", "net1"),
        address,
        "what ran before has not noticed either"
    );
    cluster.delete_pod("upgrade/steady");
    cluster.assert_nothing_left("upgrade/blue").await;
}
