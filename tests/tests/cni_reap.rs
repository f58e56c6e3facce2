//! knap reap: what is dead goes, what may live stays, the resolver's view is set right.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use knap_tests::{Action, Behaviour, Call, Host, Sandbox, Script, Wire, eventually, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

const REVERSE: [&str; 3] = ["DEL third", "DEL second", "DEL first"];

fn attached() -> (Host, Sandbox, Value) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    (host, pod, config)
}

fn reap(host: &Host) {
    let answer = host.reap();
    assert_eq!(answer.status, Some(0), "{answer:?}");
}

/// Reaps until nothing is reported: a resolver has two seconds for each release, and a busy one may be late for it.
fn reap_until_clean(host: &Host) {
    eventually("reap has nothing to report", || (host.reap().status == Some(0)).then_some(()));
}

/// Reaps, and everything is as before.
fn assert_left_alone(host: &Host) {
    let before = (host.ledger.entry("c1", "net1"), host.resolver.leases("shop/blue"));
    assert!(before.0.is_some() && before.1.len() == 1);
    reap(host);
    assert_eq!((host.ledger.entry("c1", "net1"), host.resolver.leases("shop/blue")), before);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[test]
fn what_runs_is_left_alone() {
    let (host, _pod, _) = attached();
    assert_left_alone(&host);
}

#[test]
fn of_a_namespace_that_is_gone_all_is_torn_down() {
    let (host, pod, _) = attached();
    let path = pod.path().to_owned();
    pod.remove();
    reap(&host);
    assert_eq!(host.delegates.steps(), REVERSE);
    assert_eq!(host.delegates.the("DEL first").env("CNI_NETNS"), path.to_str().unwrap());
    host.assert_nothing_left("shop/blue");
}

#[test]
fn of_a_namespace_made_anew_under_its_path_the_old_one_is_torn_down() {
    let (host, pod, _) = attached();
    // What somebody has open keeps its inode, which the kernel might give to the new one otherwise.
    let old = fs::File::open(pod.path()).unwrap();
    pod.remove();
    let again = host.pod("web-0");
    reap(&host);
    assert_eq!(host.delegates.steps(), REVERSE);
    drop(old);
    host.assert_nothing_left("shop/blue");
    drop(again);
}

#[test]
fn of_another_boot_all_is_torn_down() {
    let (host, pod, _) = attached();
    pod.remove();
    host.reboot(2);
    reap(&host);
    assert_eq!(host.delegates.steps(), REVERSE);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_path_gone_from_another_folder_proves_nothing() {
    let (host, pod, _) = attached();
    let folder = pod.path().parent().unwrap().to_owned();
    // Not propagated into this mount namespace, say: the folder that is seen is another one.
    let aside = host.folder().join("aside");
    fs::rename(&folder, &aside).unwrap();
    fs::create_dir(&folder).unwrap();
    assert_left_alone(&host);
    fs::remove_dir(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
}

#[test]
fn a_folder_that_is_gone_proves_nothing() {
    let (host, pod, _) = attached();
    let folder = pod.path().parent().unwrap().to_owned();
    let aside = host.folder().join("aside");
    fs::rename(&folder, &aside).unwrap();
    assert_left_alone(&host);
    fs::rename(&aside, &folder).unwrap();
}

#[test]
fn a_plain_file_in_its_place_proves_nothing() {
    let (host, pod, _) = attached();
    let path = pod.path().to_owned();
    pod.remove();
    // As an agent sees it to which mounts are not propagated.
    fs::write(&path, "").unwrap();
    assert_left_alone(&host);
    fs::remove_file(&path).unwrap();
    reap(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_path_of_a_process_is_left_alone() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let mut sleeper = pod.command("sleep").arg("1000").spawn().unwrap();
    let path = format!("/proc/{}/ns/net", sleeper.id());
    let its_own = fs::metadata("/proc/self/ns/net").unwrap();
    eventually("the process is inside", || {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(&path).ok().filter(|inside| inside.ino() != its_own.ino())
    });
    let config = thin_config("shop/blue", "1.0.0");
    let call = Call::new("ADD", "c1", &config).netns(Path::new(&path));
    call.run(&host).result();
    host.delegates.forget();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_left_alone(&host);
    Call::new("DEL", "c1", &config).netns(Path::new(&path)).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn tombstones_are_flushed() {
    let (host, pod, config) = attached();
    host.resolver.stop();
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.ledger.tombstones().len(), 1);
    host.resolver.start();
    reap(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_release_that_is_refused_holds_up_nothing_else() {
    let host = Host::recorded();
    let config = thin_config("shop/blue", "1.0.0");
    let pods: Vec<Sandbox> = (0..6).map(|number| host.pod(&format!("web-{number}"))).collect();
    for (number, pod) in pods.iter().enumerate() {
        Call::add(&format!("c{number}"), pod, &config).run(&host).result();
    }
    host.resolver.stop();
    for (number, pod) in pods.iter().enumerate().take(5) {
        Call::del(&format!("c{number}"), pod, &config).run(&host).quiet();
    }
    fs::remove_file(host.ledger.entry_file("c5", "net1")).unwrap();
    host.resolver.start();
    host.resolver.wait_ready("shop/blue");
    let wire = Wire::tap(&host);
    let refusal = json!({ "type": "about:blank", "title": "Unavailable", "status": 503, "detail": "not this one",
        "id": "d-1", "cniCode": 11, "retryable": true });
    for container in ["/c1/", "/c3/"] {
        let refused = Behaviour::Answer(503, "application/problem+json", refusal.to_string());
        wire.on_path("DELETE", container, refused);
    }
    let answer = host.reap();
    assert!(answer.status == Some(1) && answer.stdout.contains("not this one"), "{answer:?}");
    assert_eq!(host.ledger.tombstones().len(), 2, "{answer:?}");
    assert_eq!(
        host.resolver.leases("shop/blue").len(),
        2,
        "the one without an entry is given back too: {answer:?}"
    );
}

#[rstest]
#[case::was_set_back(365 * 86_400, false)]
#[case::is_of_another_boot(30, true)]
fn a_tombstone_waits_for_no_deadline_of_a_clock_that(#[case] ahead: u64, #[case] rebooted: bool) {
    let (host, pod, config) = attached();
    host.resolver.stop();
    Call::del("c1", &pod, &config).run(&host).quiet();
    let file = host.ledger.folder().join("releasing").join(&host.ledger.tombstones()[0]);
    let mut tombstone: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    tombstone["putDeadline"] = json!(now + ahead);
    fs::write(&file, tombstone.to_string()).unwrap();
    if rebooted {
        host.reboot(2);
    }
    host.resolver.start();
    reap(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn with_the_resolver_down_the_dead_become_tombstones() {
    let (host, pod, _) = attached();
    pod.remove();
    host.resolver.stop();
    host.reap();
    assert_eq!(host.delegates.steps(), REVERSE);
    assert_eq!((host.ledger.entries().len(), host.ledger.tombstones().len()), (0, 1));
    host.resolver.start();
    reap(&host);
    assert_eq!(host.delegates.steps(), REVERSE, "not again");
    host.assert_nothing_left("shop/blue");
}

#[test]
fn with_the_resolver_down_what_runs_is_left_alone() {
    let (host, _pod, _) = attached();
    host.resolver.stop();
    host.reap();
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[test]
fn a_failing_delegate_of_the_dead_is_reported_and_does_not_keep_it() {
    let (host, pod, _) = attached();
    let stuck = Action::Error(117, "the cable is stuck".into());
    host.delegates.install_as("second", &Script::default().on("DEL", &[stuck]));
    pod.remove();
    let answer = host.reap();
    assert!(format!("{}{}", answer.stdout, answer.stderr).contains("the cable is stuck"), "{answer:?}");
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_running_add_is_left_alone() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let gate = host.folder().join("gate");
    host.delegates.install_as("first", &Script::default().on("ADD", &[Action::AwaitFile(gate.clone())]));
    let mut add = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).spawn(&host);
    eventually("the first delegate runs", || (!host.delegates.calls().is_empty()).then_some(()));
    host.reap();
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("adding"));
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    fs::write(&gate, "").unwrap();
    assert!(add.wait().unwrap().success());
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    assert_eq!(host.delegates.steps(), ["ADD first", "ADD second", "ADD third"]);
}

#[test]
fn an_interrupted_add_is_torn_down() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let add = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).fault_at("add.delegate-ran", 2);
    add.run(&host).killed();
    host.delegates.forget();
    // Its lock is free, so nobody was told that it succeeded, whether its sandbox lives or not.
    reap(&host);
    assert_eq!(host.delegates.steps(), REVERSE);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn of_an_interrupted_add_nothing_is_torn_down_unseen() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let add = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).fault("add.delegate-ran");
    add.run(&host).killed();
    host.delegates.forget();
    let hidden = host.hide_namespaces();
    let answer = host.reap();
    assert!(answer.status == Some(1) && answer.stdout.contains("HostToContainer"), "{answer:?}");
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    drop(hidden);
    reap(&host);
    assert_eq!(host.delegates.steps(), REVERSE);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_lease_that_the_ledger_does_not_know_is_given_back() {
    let (host, _pod, _) = attached();
    fs::remove_file(host.ledger.entry_file("c1", "net1")).unwrap();
    eventually("the lease is freed", || {
        reap_until_clean(&host);
        host.resolver.leases("shop/blue").is_empty().then_some(())
    });
}

/// The folder was removed, or its disk is not mounted: what it listed runs on, and its address must go to nobody else.
#[test]
fn what_a_lost_ledger_listed_keeps_its_lease_until_the_node_boots() {
    let (host, _pod, config) = attached();
    let held = host.resolver.leases("shop/blue");
    let (state, away) = (host.ledger.folder().to_owned(), host.folder().join("away"));
    fs::rename(&state, &away).unwrap();
    let another = host.pod("web-1");
    Call::add("c2", &another, &config).run(&host).result();
    for _ in 0..2 {
        let answer = host.reap();
        for words in ["1 leases", &format!("{} of sandbox c1", held[0]), "another ledger", "crictl pods"] {
            assert!(answer.status == Some(1) && answer.stdout.contains(words), "{words}: {answer:?}");
        }
        assert!(host.resolver.leases("shop/blue").contains(&held[0]));
    }
    Call::del("c2", &another, &config).run(&host).quiet();

    let instead = host.folder().join("instead");
    fs::rename(&state, &instead).unwrap();
    fs::rename(&away, &state).unwrap();
    host.delegates.forget();
    assert_left_alone(&host);

    fs::rename(&state, &away).unwrap();
    fs::rename(&instead, &state).unwrap();
    host.reboot(2);
    eventually("what was of another boot is freed", || {
        host.reap();
        host.resolver.leases("shop/blue").is_empty().then_some(())
    });
    reap_until_clean(&host);
}

#[test]
fn a_second_lease_of_a_running_attempt_is_given_back_and_no_other() {
    let (host, _pod, _) = attached();
    let attempt = host.ledger.entry("c1", "net1").unwrap()["attempt"].clone();
    let wire = Wire::tap(&host);
    // Made by a replica that did not yet know of the first.
    let surplus =
        json!({ "containerID": "c1", "ifname": "net1", "attempt": attempt, "lease": "shop.blue-250" });
    let reply = json!({ "suspects": [surplus] }).to_string();
    wire.on("POST", Behaviour::Answer(200, "application/json", reply));
    reap_until_clean(&host);
    let exchanges = wire.exchanges();
    let mut released = exchanges.iter().filter(|exchange| exchange.method == "DELETE").peekable();
    assert!(released.peek().is_some(), "{exchanges:?}");
    assert!(released.all(|exchange| exchange.path.ends_with("&lease=shop.blue-250")), "{exchanges:?}");
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    wire.on("POST", Behaviour::Forward);
    assert_left_alone(&host);
}

#[test]
fn a_lease_that_the_resolver_has_lost_is_asserted_again() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    // A backup from before the attachment is restored.
    let (state, backup) =
        (host.folder().join("resolver/state.redb"), host.folder().join("resolver/backup.redb"));
    host.resolver.stop();
    fs::copy(&state, &backup).unwrap();
    host.resolver.start();
    Call::add("c1", &pod, &config).run(&host).result();
    let before = host.resolver.attachments("shop/blue");
    host.resolver.stop();
    fs::rename(&backup, &state).unwrap();
    host.resolver.start();
    host.resolver.wait_ready("shop/blue");
    assert_eq!(host.resolver.leases("shop/blue"), Vec::<String>::new());
    host.delegates.forget();
    reap(&host);
    assert_eq!(host.resolver.attachments("shop/blue"), before);
    assert_eq!(host.delegates.steps(), Vec::<String>::new(), "nothing ran");
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn what_can_not_be_asserted_again_is_reported_and_left_running() {
    let (host, pod, config) = attached();
    host.resolver.stop();
    // Nothing is left: the Network made anew has other MACs.
    fs::remove_file(host.folder().join("resolver/state.redb")).unwrap();
    host.resolver.start();
    host.resolver.wait_ready("shop/blue");
    let answer = host.reap();
    assert_ne!(answer.status, Some(0), "{answer:?}");
    assert!(answer.stdout.contains("c1/net1"), "{answer:?}");
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn it_reconciles_the_whole_ledger_and_frees_nothing_that_runs() {
    let (host, _pod, config) = attached();
    let other = host.pod("web-1");
    Call::add("c2", &other, &config).run(&host).result();
    let wire = Wire::tap(&host);
    reap(&host);
    let request = wire.the("POST");
    assert_eq!(request.path, "/v1/nodes/n1/attachments:reconcile");
    assert_eq!(request.body["bootID"], json!("7a1c6f0e-0000-4000-8000-000000000001"));
    let entries = request.body["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{request:?}");
    assert!(!wire.methods().contains(&"DELETE".to_owned()), "{:?}", wire.methods());
    assert_eq!(host.resolver.leases("shop/blue").len(), 2);
}

#[rstest]
fn on_an_empty_machine_it_does_nothing(#[values(true, false)] resolver_runs: bool) {
    let host = Host::recorded();
    if !resolver_runs {
        host.resolver.stop();
    }
    host.reap();
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}
