//! What can be wrong with a node: each heals, or is told on /readyz and in the inventory, and breaks nothing that runs.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::node::{Node, eventually};

/// Waits until the resolver has been told of a problem.
fn wait_told(node: &Node, reason: &str) {
    eventually(reason, || {
        let told = node.resolver.inventories().pop()?;
        let problems: Vec<Value> = told["problems"].as_array()?.clone();
        problems.iter().any(|problem| problem["reason"] == reason).then_some(())
    });
}

#[test]
fn a_foreign_plugin_of_our_name_is_told_and_left_alone() {
    let node = Node::new();
    node.script("bin/knap", &format!("echo run >>{}; echo somebody else >&2", node.path("runs").display()));
    let before = node.read("bin/knap");
    let agent = node.agent(&node.plugin("1"));
    agent.wait_unready("ForeignPlugin");
    wait_told(&node, "ForeignPlugin");
    assert_eq!(node.read("bin/knap"), before);
    let runs = node.read("runs").lines().count();
    assert!(runs <= 4, "a foreign program is not run at every look: {runs}");
    fs::rename(node.path("bin/knap"), node.path("theirs")).unwrap();
    agent.wait_ready();
    assert!(node.installed("1"));
}

/// On a busy machine, or where something else keeps it from being run for once.
#[test]
fn a_plugin_that_says_nothing_for_a_while_serves_afterwards() {
    let node = Node::new();
    let plugin = node.plugin("1");
    fs::copy(&plugin, node.path("bin/knap")).unwrap();
    for (plugin, version) in [(plugin, "1"), (node.plugin("2"), "2")] {
        fs::write(node.path("mute"), "").unwrap();
        let agent = node.agent(&plugin);
        let said = agent.wait_unready("can't be run here: it printed nothing");
        assert!(said.contains("PluginNotInstalled") && !said.contains("ForeignPlugin"), "{said}");
        let reaped = node.reaped();
        fs::remove_file(node.path("mute")).unwrap();
        agent.wait_ready();
        assert!(node.installed(version));
        eventually("it reaps", || (node.reaped() > reaped).then_some(()));
    }
}

#[test]
fn a_host_that_can_not_be_entered_is_told_from_what_its_program_says() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_knap-installer"))
        .args(["in-root", "/nowhere", "/opt/cni/bin/knap"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.contains("can't enter /nowhere")), (Some(126), true), "{said}");
}

#[test]
fn half_a_copy_of_a_container_heals() {
    let node = Node::new();
    let plugin = node.plugin("1");
    let whole = fs::read(&plugin).unwrap();
    // Half a copy under the name that a process in a container has again, and half a plugin, which does not run.
    fs::write(node.path("bin/.knap.1"), &whole[..40]).unwrap();
    fs::write(node.path("bin/knap"), &whole[..40]).unwrap();
    fs::create_dir(node.path("conf")).unwrap();
    fs::write(node.path("conf/.node.json.1"), "{").unwrap();
    fs::write(node.path("conf/token.json"), "{\"node\"").unwrap();
    let agent = node.agent(&plugin);
    agent.wait_ready();
    assert_eq!(fs::read(node.path("bin/knap")).unwrap(), whole);
    assert!(!node.path("bin/.knap.1").exists() && !node.path("conf/.node.json.1").exists());
    assert!(!node.path("bin/.knap.previous").exists(), "half a plugin is nothing to go back to");
}

/// Every moment of every file that an agent writes, the plugin's upgrade among them.
#[test]
#[cfg(feature = "fault-points")]
fn an_agent_killed_in_the_middle_of_replacing_heals() {
    for point in ["replace.half-written", "replace.written", "replace.renamed"] {
        let mut turn = 1;
        while killed_and_healed(point, turn) {
            turn += 1;
        }
        // Node file, token, its record, the plugin and the one before.
        assert_eq!(turn - 1, 5, "{point}");
    }
}

/// False where an agent lives past this pass of the point.
#[cfg(feature = "fault-points")]
fn killed_and_healed(point: &str, turn: usize) -> bool {
    let node = Node::new();
    let (before, plugin) = (node.plugin("1"), node.plugin("2"));
    fs::copy(&before, node.path("bin/knap")).unwrap();
    let mut agent = node.agent_dying_at(&plugin, &format!("{point}:{turn}"));
    let died = eventually("it dies or is ready", || match agent.has_died() {
        None => (agent.get("/readyz")?.0 == 200).then_some(false),
        Some(status) => {
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
            Some(true)
        }
    });
    if !died {
        return false;
    }
    let agent = node.agent(&plugin);
    agent.wait_ready();
    assert_eq!(fs::read(node.path("bin/knap")).unwrap(), fs::read(&plugin).unwrap(), "{point}:{turn}");
    let previous = fs::read(node.path("bin/.knap.previous")).unwrap();
    assert_eq!(previous, fs::read(&before).unwrap(), "{point}:{turn}");
    assert!(agent.stop().success());
    for (folder, expected) in
        [("bin", &[".knap.previous", "knap"][..]), ("conf", &["node.json", "token", "token.json"][..])]
    {
        let mut names: Vec<String> = fs::read_dir(node.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, expected, "{point}:{turn}");
    }
    true
}

#[test]
fn a_plugin_that_does_not_run_here_replaces_nothing() {
    let node = Node::new();
    node.agent(&node.plugin("1")).wait_ready();
    let reaped = node.reaped();
    let broken = format!("echo run >>{}; echo wrong machine >&2; exit 1", node.path("runs").display());
    let agent = node.agent(&node.script("broken", &broken));
    let said = agent.wait_unready("PluginNotInstalled");
    assert!(said.contains("wrong machine"), "{said}");
    assert!(node.installed("1"));
    wait_told(&node, "PluginNotInstalled");
    assert_eq!(node.resolver.inventories().pop().unwrap()["pluginVersion"], "1", "the one before serves");
    // A reap comes as often as a look.
    eventually("it is not written at every look", || {
        let (reaps, runs) = (node.reaped() - reaped, node.read("runs").lines().count());
        (reaps > 8 && runs < reaps / 2).then_some(())
    });
}

#[test]
fn the_runtimes_folder_is_not_made_but_asked_for() {
    let node = Node::new();
    fs::remove_dir(node.path("bin")).unwrap();
    let agent = node.agent(&node.plugin("1"));
    let said = agent.wait_unready("PluginFolderMissing");
    assert!(said.contains(node.path("bin").to_str().unwrap()), "{said}");
    assert!(!node.path("bin").exists());
    wait_told(&node, "PluginFolderMissing");
    fs::create_dir(node.path("bin")).unwrap();
    agent.wait_ready();
}

#[test]
fn a_folder_that_takes_no_file_is_told_and_waited_for() {
    let node = Node::new();
    fs::write(node.path("conf"), "no folder").unwrap();
    let agent = node.agent(&node.plugin("1"));
    agent.wait_unready("FolderUnusable");
    assert_eq!(agent.get("/healthz").unwrap().0, 200, "a restart would not help");
    fs::remove_file(node.path("conf")).unwrap();
    agent.wait_ready();
}

#[test]
fn a_folder_that_takes_no_file_any_more_is_told_by_the_token_in_it() {
    let node = Node::new();
    let plugin = node.plugin("1");
    let agent = node.agent(&plugin);
    agent.wait_ready();
    agent.stop();
    // Root may write anywhere; but not here.
    fs::create_dir(node.path("conf/agent.lock")).unwrap();
    let agent = node.agent(&plugin);
    agent.wait_unready("FolderUnusable");
    wait_told(&node, "FolderUnusable");
    assert_eq!(node.resolver.inventories().pop().unwrap()["pluginVersion"], "1", "it serves");
    fs::remove_dir(node.path("conf/agent.lock")).unwrap();
    agent.wait_ready();
}

#[test]
fn one_agent_at_a_time() {
    let node = Node::new();
    let first = node.agent(&node.plugin("1"));
    first.wait_ready();
    let second = node.agent(&node.plugin("2"));
    let said = format!("waits: the agent of pod {} looks after this node already", first.pod());
    eventually("the second says that it waits", || second.log().contains(&said).then_some(()));
    assert!(node.installed("1"));
    first.kill();
    second.wait_ready();
    assert!(node.installed("2"));
}

#[test]
fn a_resolver_that_is_away_is_told_and_followed_by_a_reap() {
    let node = Node::new();
    let agent = node.agent_with(&node.plugin("1"), &["--reap-interval=3600"]);
    agent.wait_ready();
    fs::write(node.path("no-status"), "").unwrap();
    // Asked anew after half a minute, or when something has changed, as here.
    fs::remove_file(node.path("bin/knap")).unwrap();
    agent.wait_unready("StatusFails: the resolver is away");
    let reaped = node.reaped();
    fs::remove_file(node.path("no-status")).unwrap();
    agent.wait_ready();
    eventually("a reap follows", || (node.reaped() > reaped).then_some(()));
}

#[test]
fn it_ends_in_time_though_a_reap_hangs() {
    let node = Node::new();
    fs::write(node.path("hang"), "").unwrap();
    let agent = node.agent(&node.plugin("1"));
    agent.wait_ready();
    eventually("a reap runs", || (node.reaped() > 0).then_some(()));
    let begun = Instant::now();
    assert!(agent.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    fs::remove_file(node.path("hang")).unwrap();
}

#[test]
fn an_address_that_is_taken_is_named() {
    let node = Node::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_knap-installer"))
        .args(["agent", "--node=n1", "--endpoint=http://127.0.0.1:9", "--token-file=/t"])
        .args(["--health-address", &address])
        .arg("--config-dir")
        .arg(node.path("conf"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains(&address) && said.contains("--health-address"),
        "{said}"
    );
}

#[test]
fn who_opens_many_connections_and_asks_nothing_keeps_no_probe_away() {
    let node = Node::new();
    let agent = node.agent(&node.plugin("1"));
    agent.wait_ready();
    // Closed by the agent after 2 s at most; a machine that needs longer for them all shows nothing here.
    let mut idle: Vec<TcpStream> = (0..40).map(|_| agent.connect()).collect();
    assert_eq!(agent.get("/healthz"), Some((200, "ok\n".to_owned())));
    // The oldest had to go for it.
    assert_eq!(idle[0].read(&mut [0]).unwrap_or(0), 0);
}
