//! Fences and restored stores, as a node meets them: `knap` and `knap reap` against a real resolver.

use std::fs;

use knap_tests::{Action, Call, Host, Sandbox, Script, class, eventually, network, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

const REVERSE: [&str; 3] = ["DEL third", "DEL second", "DEL first"];
const BOOT: &str = "7a1c6f0e-0000-4000-8000-000000000001";

fn attached(host: &Host, container: &str) -> (Sandbox, Value) {
    let pod = host.pod(container);
    let config = thin_config("shop/blue", "1.0.0");
    Call::add(container, &pod, &config).run(host).result();
    host.delegates.forget();
    (pod, config)
}

fn write_node(host: &Host, taints: &Value) {
    let node =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"taints": taints}});
    host.resolver.write_manifest("node.yaml", &node.to_string());
}

/// Takes the resolver's memory back to what it was before `since` happened.
fn restored(host: &Host, since: impl FnOnce()) {
    let (state, backup) =
        (host.folder().join("resolver/state.redb"), host.folder().join("resolver/backup.redb"));
    host.resolver.stop();
    fs::copy(&state, &backup).unwrap();
    host.resolver.start();
    since();
    host.resolver.stop();
    fs::rename(&backup, &state).unwrap();
    host.resolver.start();
    host.resolver.wait_ready("shop/blue");
    host.delegates.forget();
}

#[test]
fn what_a_fenced_boot_runs_is_torn_down_and_then_the_fence_can_lift() {
    let host = Host::recorded();
    let (pod, config) = attached(&host, "c1");
    write_node(&host, &json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]));
    eventually("its lease is freed", || host.resolver.leases("shop/blue").is_empty().then_some(()));
    let other = host.pod("web-1");
    let error = Call::add("c2", &other, &config).run(&host).error();
    assert_eq!(error.code, 7, "{error:?}");
    assert!(error.msg.contains("out-of-service") && error.msg.contains("n1"), "{error:?}");
    assert_eq!(host.ledger.entry("c2", "net1"), None);

    // Nobody was right to think it dead: it runs, and its address may be another's by now.
    let answer = host.reap();
    assert_eq!(answer.status, Some(0), "{answer:?}");
    assert_eq!(host.delegates.steps(), REVERSE);
    host.assert_nothing_left("shop/blue");
    write_node(&host, &json!([]));
    let served = || {
        assert_eq!(host.reap().status, Some(0));
        (Call::add("c2", &other, &config).run(&host).status == Some(0)).then_some(())
    };
    eventually("the fence is lifted", served);
    Call::del("c2", &other, &config).run(&host).quiet();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::whose_mounts_are_not_propagated(true)]
#[case::whose_folder_is_not_there(false)]
fn what_a_fenced_boot_runs_is_not_torn_down_from_a_place(#[case] sees_files: bool) {
    let host = Host::recorded();
    let (_pod, _) = attached(&host, "c1");
    write_node(&host, &json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]));
    eventually("its lease is freed", || host.resolver.leases("shop/blue").is_empty().then_some(()));
    let folder = host.folder().join("netns");
    let aside = host.folder().join("aside");
    let hidden = sees_files.then(|| host.hide_namespaces());
    if !sees_files {
        fs::rename(&folder, &aside).unwrap();
    }
    // It runs: a delegate that finds no namespace would undo nothing, and succeed.
    let answer = host.reap();
    assert!(answer.status == Some(1) && answer.stdout.contains("HostToContainer"), "{answer:?}");
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));

    drop(hidden);
    if !sees_files {
        fs::rename(&aside, &folder).unwrap();
    }
    assert_eq!(host.reap().status, Some(0));
    assert_eq!(host.delegates.steps(), REVERSE);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn what_another_call_works_on_is_left_to_it() {
    let host = Host::recorded();
    let (pod, config) = attached(&host, "c1");
    write_node(&host, &json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]));
    eventually("its lease is freed", || host.resolver.leases("shop/blue").is_empty().then_some(()));
    let gate = host.folder().join("gate");
    host.delegates.install_as("third", &Script::default().on("DEL", &[Action::AwaitFile(gate.clone())]));
    let mut del = Call::del("c1", &pod, &config).spawn(&host);
    eventually("the last delegate is being undone", || (!host.delegates.calls().is_empty()).then_some(()));
    let answer = host.reap();
    assert!(answer.status == Some(0) && answer.stdout.contains("\"tornDown\":0"), "{answer:?}");
    assert_eq!(host.delegates.steps(), ["DEL third"]);
    fs::write(&gate, "").unwrap();
    assert!(del.wait().unwrap().success());
    host.assert_nothing_left("shop/blue");
}

#[test]
fn of_what_a_restored_store_gave_to_another_the_conflict_is_reported_and_it_runs_on() {
    let host = Host::recorded();
    let mut attachment = None;
    restored(&host, || attachment = Some((attached(&host, "c1"), host.resolver.attachments("shop/blue"))));
    let ((pod, config), before) = attachment.unwrap();
    // Before this node could say what it holds, another node got the same address.
    let address = before[0].addresses[0].split('/').next().unwrap().to_owned();
    let request = json!({
        "network": "shop/blue", "bootID": "another", "attempt": "another", "deadlineSeconds": 9, "cniVersion": "1.0.0",
        "runtimeConfig": {"ips": [address]}
    });
    let token = host.resolver.token();
    let path = "/v1/nodes/n2/attachments/c9/net1";
    let (status, body) =
        host.resolver.request("PUT", path, Some(&token), Some(&request.to_string())).unwrap();
    assert_eq!(status, 200, "{body}");

    for _ in 0..2 {
        let answer = host.reap();
        assert_ne!(answer.status, Some(0), "{answer:?}");
        for word in ["c1/net1", "taken", "node n2", address.as_str()] {
            assert!(answer.stdout.contains(word), "no {word}: {answer:?}");
        }
        assert!(answer.stderr.contains("c1/net1"), "{answer:?}");
    }
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    assert_eq!(host.delegates.steps(), Vec::<String>::new(), "it runs on");
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.resolver.attachments("shop/blue")[0].node, "n2", "the other keeps what it got");
    assert_eq!(host.reap().status, Some(0), "nothing is in conflict any more");
}

#[test]
fn after_a_reboot_nothing_of_before_is_left_and_the_old_boot_gets_nothing() {
    let host = Host::recorded();
    let (pod, config) = attached(&host, "c1");
    pod.remove();
    host.reboot(2);
    let pod = host.pod("new");
    Call::add("c2", &pod, &config).run(&host).result();
    eventually("the old boot's lease is freed before anybody reaps", || {
        (host.resolver.leases("shop/blue").len() == 1).then_some(())
    });
    host.delegates.forget();
    assert_eq!(host.reap().status, Some(0));
    assert_eq!(host.delegates.steps(), REVERSE, "what the ledger still had of it");

    // As a machine that was cloned with its ledger.
    host.reboot(1);
    let clone = host.pod("clone");
    let error = Call::add("c3", &clone, &config).run(&host).error();
    assert!(error.code == 7 && error.msg.contains(BOOT) && error.msg.contains("Reboot"), "{error:?}");
    host.reboot(2);
    Call::del("c2", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn what_a_network_made_anew_would_give_is_not_taken_for_what_runs() {
    // Without a hardware address, which would tell by itself that the Network is another.
    let on = |cidr: &str| {
        let plugins = json!([{"type": "first", "ipam": {"type": "knap"}}]);
        let subnets = json!([{"cidr": cidr, "prefixLength": 24}]);
        class(json!({"provider": "cni", "parameters": {"plugins": plugins}, "subnets": subnets}))
    };
    let host = Host::start(&[on("10.64.0.0/16"), network("shop/blue", &json!({}))], &["first"]);
    host.resolver.wait_ready("shop/blue");
    let (pod, config) = attached(&host, "c1");
    host.resolver.stop();
    fs::remove_file(host.folder().join("resolver/state.redb")).unwrap();
    host.resolver.write_manifest("00.yaml", &on("10.70.0.0/16"));
    host.resolver.start();
    host.resolver.wait_ready("shop/blue");
    let answer = host.reap();
    assert_ne!(answer.status, Some(0), "{answer:?}");
    for word in ["c1/net1", "10.64.0.", "10.70.0.", "end its pod"] {
        assert!(answer.stdout.contains(word), "no {word}: {answer:?}");
    }
    assert_eq!(host.resolver.leases("shop/blue"), Vec::<String>::new());
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}
