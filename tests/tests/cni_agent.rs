//! The node agent beside a real plugin and a real resolver: what is dead goes, what runs is never touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use knap_tests::binaries::another_knap;
use knap_tests::{Call, GENEROUS, Host, Sandbox, eventually, network, recorded_class_on, thin_config};
use serde_json::{Value, json};

/// The installed plugin.
fn installed(host: &Host) -> PathBuf {
    host.delegates.bin().join("knap")
}

fn attach(host: &Host, name: &str) -> (Sandbox, Value) {
    let (pod, config) = (host.pod(name), thin_config("shop/blue", "1.0.0"));
    Call::add(&format!("c-{name}"), &pod, &config).run_by(host, &installed(host)).result();
    (pod, config)
}

#[test]
fn it_installs_what_works_and_leaves_it_working() {
    let host = Host::recorded();
    fs::remove_file(installed(&host)).unwrap();
    let mut agent = host.agent();
    agent.wait_ready();
    assert!(!fs::symlink_metadata(installed(&host)).unwrap().is_symlink());
    let (pod, config) = attach(&host, "web-0");
    agent.stop();
    let (other, _) = attach(&host, "web-1");
    for (name, pod) in [("web-0", &pod), ("web-1", &other)] {
        Call::del(&format!("c-{name}"), pod, &config).run_by(&host, &installed(&host)).quiet();
    }
    host.assert_nothing_left("shop/blue");
}

#[test]
fn of_the_dead_nothing_is_left_and_what_runs_is_left_alone() {
    let host = Host::recorded();
    let agent = host.agent();
    agent.wait_ready();
    let (dead, _) = attach(&host, "dead");
    let (pod, config) = attach(&host, "web-0");
    drop(dead);
    eventually("the dead one is reaped, and the resolver told", || {
        (host.ledger.entries().len() == 1 && host.ledger.tombstones().is_empty()).then_some(())
    });
    host.resolver.stop();
    // Told when the plugin is asked again.
    agent.wait_says(503, "StatusFails");
    Call::del("c-web-0", &pod, &config).run_by(&host, &installed(&host)).quiet();
    assert_eq!(host.ledger.tombstones().len(), 1);
    agent.wait_says(503, "ReapFails: knap reap: 1 releases wait for the resolver");
    host.resolver.start();
    eventually("what waited is sent", || host.ledger.tombstones().is_empty().then_some(()));
    agent.wait_ready();
    host.assert_nothing_left("shop/blue");
}

const STALE: usize = 500;

#[test]
fn five_hundred_entries_of_another_boot_and_a_corrupt_one_are_gone_soon() {
    let class = recorded_class_on(&["first"], &[("10.64.0.0/16", 22)]);
    let host = Host::start(&[class, network("shop/blue", &json!({}))], &["first"]);
    host.resolver.wait_ready("shop/blue");
    let (pod, config) = (host.pod("web-0"), thin_config("shop/blue", "1.0.0"));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let number @ 0..STALE = next.fetch_add(1, Ordering::SeqCst) {
                    Call::add(&format!("c{number}"), &pod, &config).run(&host).result();
                }
            });
        }
    });
    assert_eq!(host.resolver.leases("shop/blue").len(), STALE);
    let torn = host.ledger.entry_file("c7", "net1");
    let whole = fs::read(&torn).unwrap();
    fs::write(&torn, &whole[..whole.len() * 2 / 3]).unwrap();
    pod.remove();
    host.reboot(2);
    let begun = Instant::now();
    let agent = host.agent();
    for left in (0..STALE).step_by(STALE / 10).rev() {
        let what = format!("{left} of {STALE} leases are left at most");
        eventually(&what, || (host.resolver.leases("shop/blue").len() <= left).then_some(()));
    }
    eventually("the ledger is empty", || host.ledger.traces().is_empty().then_some(()));
    eprintln!("{STALE} stale entries: gone after {:.1} s", begun.elapsed().as_secs_f32());
    agent.wait_ready();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_corrupt_entry_of_a_pod_that_runs_is_told_and_kept() {
    let host = Host::recorded();
    let agent = host.agent();
    agent.wait_ready();
    let (pod, _) = attach(&host, "web-0");
    // A delegate would have made it in the sandbox.
    pod.add_interface("net1");
    fs::write(host.ledger.entry_file("c-web-0", "net1"), "{").unwrap();
    let said = agent.wait_says(200, "LedgerCorrupt: 1 files");
    let file = host.ledger.folder().join("corrupt").join(&host.ledger.corrupt()[0]);
    assert!(said.contains(file.to_str().unwrap()) && said.contains("crictl pods"), "{said}");
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    assert!(pod.interfaces().contains(&"net1".to_owned()));
    // With the next boot it is over, whatever the namespace looks like.
    host.reboot(2);
    eventually("its lease is free", || host.resolver.leases("shop/blue").is_empty().then_some(()));
    agent.wait_well();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_disk_that_is_full_or_read_only_is_told_and_what_was_there_serves() {
    let host = Host::recorded();
    fs::remove_file(installed(&host)).unwrap();
    let size = usize::try_from(fs::metadata(knap_tests::binaries::knap()).unwrap().len()).unwrap();
    let disk = host.tiny_disk_for_plugins(size * 4);
    host.agent().wait_ready();
    let newer = another_knap(host.folder(), "newer");
    let start = || host.agent_with(&[], &[format!("--plugin={}", newer.display())]);
    disk.fill(4096);
    let agent = start();
    let said = agent.wait_says(503, "PluginNotInstalled");
    assert!(said.contains("No space left") && said.contains("has space"), "{said}");
    attach(&host, "web-0");
    disk.read_only(true);
    agent.wait_says(503, "Read-only file system");
    attach(&host, "web-1");
    disk.read_only(false);
    disk.empty();
    agent.wait_ready();
    assert_eq!(fs::read(installed(&host)).unwrap(), fs::read(&newer).unwrap());
}

#[test]
fn a_ledger_that_can_not_be_written_is_told_and_what_runs_goes_on() {
    let host = Host::recorded();
    let disk = host.tiny_disk(256 * 1024);
    let (pod, config) = attach(&host, "web-0");
    for (breaks, heals, words) in [
        (&(|| disk.fill(0)) as &dyn Fn(), &(|| disk.empty()) as &dyn Fn(), "No space left"),
        (&|| disk.read_only(true), &|| disk.read_only(false), "Read-only file system"),
    ] {
        breaks();
        let agent = host.agent();
        let said = agent.wait_says(503, "StatusFails: no attachment can be made: can't write");
        assert!(said.contains(words), "{said}");
        assert!(!host.delegates.steps().iter().any(|step| step.starts_with("DEL")), "{said}");
        heals();
        agent.wait_ready();
    }
    Call::del("c-web-0", &pod, &config).run_by(&host, &installed(&host)).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn where_the_hosts_mounts_are_not_propagated_it_says_so_and_frees_nothing() {
    let host = Host::recorded();
    let agent = host.agent_with(&["unshare", "--mount", "--propagation=private"], &[]);
    agent.wait_ready();
    let (_pod, _) = attach(&host, "web-0");
    let said = agent.wait_says(503, "NamespaceFilesHidden");
    assert!(said.contains("web-0") && said.contains("HostToContainer"), "{said}");
    assert_eq!(host.ledger.state("c-web-0", "net1").as_deref(), Some("attached"));
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
}

#[test]
fn in_a_container_the_hosts_programs_run_in_the_hosts_root() {
    let host = Host::recorded();
    let _shared = host.share_namespaces();
    // As a pod has it: the host's root under another path, and its mounts propagated. The mount goes with the agent.
    let script = "mount --rbind / /mnt && mount --make-rslave /mnt && exec \"$@\"";
    let container = ["unshare", "--mount", "--propagation=slave", "sh", "-c", script, "sh"];
    let agent = host.agent_with(&container, &["--host-root=/mnt".to_owned()]);
    agent.wait_ready();
    let (pod, _) = attach(&host, "web-0");
    let (dead, _) = attach(&host, "dead");
    host.delegates.forget();
    drop(dead);
    eventually("the dead one is reaped", || (host.ledger.entries().len() == 1).then_some(()));
    eventually("its lease is free", || (host.resolver.leases("shop/blue").len() == 1).then_some(()));
    assert_eq!(host.delegates.steps(), ["DEL third", "DEL second", "DEL first"]);
    agent.wait_well();
    drop(pod);
}

/// A real node has a thousand, among its pods.
const REPLACEMENTS: usize = 200;

#[test]
fn replaced_again_and_again_no_add_fails() {
    let host = Host::recorded();
    fs::remove_file(installed(&host)).unwrap();
    let plugins = [another_knap(host.folder(), "one"), another_knap(host.folder(), "two")];
    let size = usize::try_from(fs::metadata(&plugins[0]).unwrap().len()).unwrap();
    // In memory, or syncs would be most of it; with room for those that still run.
    let _disk = host.tiny_disk_for_plugins(size * 9);
    host.install(&plugins[0]);
    let (done, added, begun) = (AtomicBool::new(false), AtomicUsize::new(0), Instant::now());
    let replaced = std::thread::scope(|scope| {
        for worker in 0..2 {
            let (host, done, added) = (&host, &done, &added);
            scope.spawn(move || {
                let (pod, config) = (host.pod(&format!("pod-{worker}")), thin_config("shop/blue", "1.0.0"));
                let container = format!("c{worker}");
                while !done.load(Ordering::SeqCst) {
                    Call::add(&container, &pod, &config).run_by(host, &installed(host)).result();
                    Call::del(&container, &pod, &config).run_by(host, &installed(host)).quiet();
                    added.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let replaced = std::panic::catch_unwind(|| {
            let enough = || added.load(Ordering::SeqCst) > REPLACEMENTS / 10 || begun.elapsed() > GENEROUS;
            let numbers = (1..).take_while(|number| *number <= REPLACEMENTS || !enough());
            numbers.map(|number| host.install(&plugins[number % 2])).count()
        });
        done.store(true, Ordering::SeqCst);
        replaced.unwrap()
    });
    let (added, seconds) = (added.load(Ordering::SeqCst), begun.elapsed().as_secs_f32());
    eprintln!("{replaced} replacements, {added} ADDs and DELs in {seconds:.1} s");
    assert!(added > REPLACEMENTS / 10);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_ledger_that_is_in_use_is_not_left_for_another() {
    let host = Host::recorded();
    let mut agent = host.agent();
    agent.wait_ready();
    let (pod, config) = attach(&host, "web-0");
    agent.stop();
    let before = fs::read(host.node_file()).unwrap();
    let other = host.folder().join("other");
    let agent = host.agent_with(&[], &[format!("--state-dir={}", other.display())]);
    let said = agent.wait_says(503, "LedgerElsewhere");
    assert!(said.contains("drain this node") && said.contains(other.to_str().unwrap()), "{said}");
    // What dies is reaped, or the ledger would never be empty; what runs is left alone.
    let (dead, _) = attach(&host, "dead");
    drop(dead);
    eventually("the dead one is reaped", || (host.ledger.entries().len() == 1).then_some(()));
    eventually("its lease is free", || (host.resolver.leases("shop/blue").len() == 1).then_some(()));
    agent.wait_says(503, "LedgerElsewhere");
    assert_eq!(fs::read(host.node_file()).unwrap(), before);
    assert!(!other.exists());
    host.delegates.forget();
    Call::del("c-web-0", &pod, &config).run_by(&host, &installed(&host)).quiet();
    assert_eq!(host.delegates.steps(), ["DEL third", "DEL second", "DEL first"]);
    agent.wait_ready();
    assert!(fs::read_to_string(host.node_file()).unwrap().contains(other.to_str().unwrap()));
    let (_pod, _) = attach(&host, "web-1");
    assert!(host.ledger.entries().is_empty() && other.join("attachments/c-web-1@net1.json").exists());
}

#[test]
fn uninstalled_the_host_is_as_it_was() {
    let host = Host::recorded();
    fs::remove_file(installed(&host)).unwrap();
    let (config_dir, state_dir) = (host.folder().join("conf"), host.folder().join("ledger"));
    let before = (names(&host.delegates.bin()), host.machine().interfaces());
    let folders =
        [format!("--config-dir={}", config_dir.display()), format!("--state-dir={}", state_dir.display())];
    let mut agent = host.agent_with(&[], &folders);
    agent.wait_ready();
    // With the `knap reap` that it may have begun.
    agent.stop();
    assert!(config_dir.join("node.json").exists());
    let mut agent = host.agent_with(&[], &[&folders[..], &["--uninstall".to_owned()]].concat());
    agent.wait_ready();
    agent.stop();
    assert_eq!((names(&host.delegates.bin()), host.machine().interfaces()), before);
    assert!(!config_dir.exists() && !state_dir.exists());
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
