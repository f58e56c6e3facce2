//! The ledger when its disk is full, its files are damaged, or its folder is none.

use std::fs;

use knap_tests::{Action, Call, Host, Sandbox, Script, Wire, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

const PAGE: usize = 4096;

fn attached() -> (Host, Sandbox, Value, Value) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    let result = Call::add("c1", &pod, &config).run(&host).result();
    host.delegates.forget();
    (host, pod, config, result)
}

fn damage(host: &Host, text: &str) {
    fs::write(host.ledger.entry_file("c1", "net1"), text).unwrap();
}

#[rstest]
fn with_the_disk_full_nothing_is_begun(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = Host::recorded();
    let disk = host.tiny_disk(256 * 1024);
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", version);
    disk.fill(0);
    Call::add("c1", &pod, &config).run(&host).fails(5, &[host.ledger.folder().to_str().unwrap()]);
    assert_eq!(wire.methods(), Vec::<String>::new(), "the intent comes before the request");
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    disk.empty();
    host.assert_nothing_left("shop/blue");
    Call::add("c1", &pod, &config).run(&host).result();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn with_the_disk_full_at_any_later_write_all_is_undone(#[values(1, 2, 3, 4, 5)] pages: usize) {
    let host = Host::recorded();
    let disk = host.tiny_disk(256 * 1024);
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    // A result that needs more pages than the chain does.
    let long = json!({
        "cniVersion": "1.0.0", "interfaces": [{ "name": "net1", "sandbox": "/x" }], "ips": [], "routes": [],
        "dns": { "search": vec!["a-rather-long-domain.test"; 400] },
    });
    host.delegates.install_as("third", &Script::default().on("ADD", &[Action::Result(long)]));
    disk.fill(pages * PAGE);
    let answer = Call::add("c1", &pod, &config).run(&host);
    if answer.status == Some(0) {
        // Room enough: only then may it have succeeded.
        assert!(pages > 3, "{answer:?}");
        disk.empty();
        Call::del("c1", &pod, &config).run(&host).quiet();
    } else {
        answer.fails(5, &[host.ledger.folder().to_str().unwrap()]);
        let steps = host.delegates.steps();
        let added = steps.iter().filter(|step| step.starts_with("ADD")).count();
        assert_eq!(steps.len(), 2 * added, "{steps:?}");
        disk.empty();
    }
    host.assert_nothing_left("shop/blue");
}

#[test]
fn with_the_disk_full_del_still_works() {
    let host = Host::recorded();
    let disk = host.tiny_disk(256 * 1024);
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    disk.fill(0);
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_state_dir_that_can_not_be_made_is_named() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    fs::write(host.ledger.folder(), "in the way").unwrap();
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host);
    answer.fails(5, &[host.ledger.folder().to_str().unwrap()]);
    assert_eq!(wire.methods(), Vec::<String>::new());
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[rstest]
fn locks_do_not_pile_up(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", version);
    for container in ["c1", "c2", "c3"] {
        Call::add(container, &pod, &config).run(&host).result();
        Call::del(container, &pod, &config).run(&host).quiet();
    }
    let locks = fs::read_dir(host.ledger.folder().join("locks")).unwrap().count();
    assert_eq!(locks, 0);
}

#[rstest]
#[case::empty("")]
#[case::half("{\"key\": {\"containerID\": \"c1\", ")]
#[case::binary("\u{0}\u{0}\u{0}")]
#[case::another_shape("[]")]
#[case::an_object("{}")]
fn del_of_a_damaged_entry_succeeds_and_puts_it_aside(#[case] text: &str) {
    let (host, pod, config, _) = attached();
    damage(&host, text);
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.ledger.entries(), Vec::<String>::new());
    // The interface is not in the namespace (nobody made one): nothing is there that could use the address.
    knap_tests::eventually("its lease is freed", || {
        host.reap();
        host.resolver.leases("shop/blue").is_empty().then_some(())
    });
}

#[test]
fn the_address_of_a_damaged_entry_stays_taken_while_its_interface_is_there() {
    let (host, pod, config, _) = attached();
    pod.add_interface("net1");
    let mut text = fs::read_to_string(host.ledger.entry_file("c1", "net1")).unwrap();
    text.truncate(text.trim_end().len() - 1);
    damage(&host, &text);
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!((host.ledger.entries().len(), host.ledger.corrupt().len()), (0, 1));
    host.ledger.assert_private();
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    host.reap();
    assert_eq!(host.resolver.leases("shop/blue").len(), 1, "the interface is still there");
    // Reap revisits it.
    pod.remove();
    knap_tests::eventually("its lease is freed", || {
        host.reap();
        host.resolver.leases("shop/blue").is_empty().then_some(())
    });
    assert_eq!(host.ledger.corrupt(), Vec::<String>::new());
}

/// What a power cut may leave of a file that was renamed into place and not synced.
#[test]
fn an_emptied_entry_goes_with_the_next_boot() {
    let (host, pod, config, _) = attached();
    pod.add_interface("net1");
    let other = host.pod("web-1");
    Call::add("c2", &other, &config).run(&host).result();
    damage(&host, "");
    host.reap();
    assert_eq!((host.ledger.corrupt().len(), host.resolver.leases("shop/blue").len()), (1, 2), "it may run");

    // Of these, nothing can be told but their names.
    fs::write(host.ledger.entry_file("c2", "net1"), "").unwrap();
    host.reboot(2);
    let answer = host.reap();
    assert!(answer.stdout.contains("\"salvaged\":2"), "{answer:?}");
    host.assert_nothing_left("shop/blue");
}

#[test]
fn what_nobody_can_tell_is_left_to_an_administrator() {
    let (host, pod, config, _) = attached();
    pod.add_interface("net1");
    damage(&host, "");
    host.reap();
    pod.remove();
    // A runtime that has lost the namespace says nothing of it.
    Call::new("DEL", "c1", &config).netns(std::path::Path::new("")).run(&host).quiet();
    let reaped = host.reap();
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    let summary: Value = serde_json::from_str(&reaped.stdout).unwrap();
    let file = summary["corruptFiles"][0].as_str().unwrap();
    assert!(file.contains("/corrupt/c1@net1.json."), "{summary}");
    // As the agent says it.
    fs::remove_file(file).unwrap();
    host.reap();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn add_over_a_damaged_entry_starts_anew() {
    let (host, pod, config, _) = attached();
    damage(&host, "{");
    Call::add("c1", &pod, &config).run(&host).result();
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("attached"));
    Call::del("c1", &pod, &config).run(&host).quiet();
    knap_tests::eventually("all leases are freed", || {
        host.reap();
        host.resolver.leases("shop/blue").is_empty().then_some(())
    });
}

#[test]
fn check_of_a_damaged_entry_fails() {
    let (host, pod, config, result) = attached();
    damage(&host, "{");
    Call::check("c1", &pod, &config, &result).run(&host).error();
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[test]
fn a_damaged_entry_does_not_stop_gc_of_the_others() {
    let host = Host::recorded();
    let config = thin_config("shop/blue", "1.1.0");
    let pods = [host.pod("a"), host.pod("b"), host.pod("c")];
    for (container, pod) in ["c1", "c2", "c3"].iter().zip(&pods) {
        Call::add(container, pod, &config).run(&host).result();
    }
    damage(&host, "{");
    Call::gc(&config, &[]).run(&host);
    assert_eq!(host.ledger.entries(), ["c1@net1.json"], "of which network it is can't be told");
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    knap_tests::eventually("its lease is freed too", || {
        Call::del("c1", &pods[0], &config).run(&host).quiet();
        host.reap();
        host.resolver.leases("shop/blue").is_empty().then_some(())
    });
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
}

#[test]
fn a_damaged_tombstone_stops_nobody() {
    let (host, pod, config, _) = attached();
    host.resolver.stop();
    Call::del("c1", &pod, &config).run(&host).quiet();
    let file = host.ledger.folder().join("releasing").join(&host.ledger.tombstones()[0]);
    fs::write(file, "{").unwrap();
    host.resolver.start();
    Call::add("c2", &pod, &config).run(&host).result();
    Call::del("c2", &pod, &config).run(&host).quiet();
    knap_tests::eventually("its lease is freed", || {
        host.reap();
        host.resolver.leases("shop/blue").is_empty().then_some(())
    });
}

#[test]
fn files_that_are_not_the_ledgers_stop_nobody() {
    let (host, pod, config, _) = attached();
    let stray = host.ledger.folder().join("attachments").join("README");
    fs::write(&stray, "by an administrator").unwrap();
    host.reap();
    Call::del("c1", &pod, &config).run(&host).quiet();
    // Left where it is, or put aside; never lost.
    let texts = ["attachments", "corrupt"].into_iter().flat_map(|folder| {
        let files = fs::read_dir(host.ledger.folder().join(folder)).unwrap();
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(texts.collect::<Vec<_>>(), ["by an administrator"]);
    assert_eq!(host.resolver.leases("shop/blue"), Vec::<String>::new());
}
