//! `agent --uninstall`, and what the other subcommands do beside an agent.

use std::fs;
use std::process::Command;

use crate::node::Node;

#[test]
fn it_waits_for_the_last_attachment_and_then_leaves_nothing() {
    let node = Node::new();
    let plugin = node.plugin("1");
    node.agent(&plugin).wait_ready();
    let entry = node.path("state/attachments/c1@net1.json");
    fs::create_dir_all(entry.parent().unwrap()).unwrap();
    fs::write(&entry, "{}").unwrap();
    let agent = node.agent_with(&plugin, &["--uninstall"]);
    agent.wait_unready("NotRemoved: 1 attachments are still in");
    assert!(node.installed("1"));
    fs::remove_file(&entry).unwrap();
    agent.wait_ready();
    for name in ["conf", "state", "bin/knap", "bin/.knap.previous"] {
        assert!(!node.path(name).exists(), "{name}");
    }
    assert_eq!(fs::read_dir(node.path("bin")).unwrap().count(), 0);
    assert!(agent.stop().success());
}

#[test]
fn nobody_works_against_an_agent() {
    let node = Node::new();
    let agent = node.agent(&node.plugin("1"));
    agent.wait_ready();
    for command in ["rollback", "uninstall"] {
        let output = Command::new(env!("CARGO_BIN_EXE_knap-installer"))
            .arg(command)
            .args(["--bin-dir", node.path("bin").to_str().unwrap()])
            .args(["--config-dir", node.path("conf").to_str().unwrap()])
            .args(["--state-dir", node.path("state").to_str().unwrap()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(&agent.pod()), "{said}");
    }
    assert!(node.installed("1"));
}
