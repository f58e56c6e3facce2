//! What an agent does where all is well, and where somebody changes what it keeps.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::node::{Node, eventually};

#[test]
fn a_node_is_made_ready_and_stays_so_when_the_agent_ends() {
    let node = Node::new();
    node.script("bin/bridge", "echo '{\"supportedVersions\": [\"0.4.0\", \"1.0.0\"]}'");
    node.script("bin/vendors", "echo '{\"supportedVersions\": [\"1.1.0\"]}'");
    node.script("bin/macvlan", "echo nonsense");
    // What runtimes' folders hold too, and what nobody starts for a look.
    for name in ["configure.sh", "kubelet", "two words"] {
        node.script(&format!("bin/{name}"), &format!("echo {name} >>{}", node.path("ran").display()));
    }
    fs::write(node.path("bin/README"), "no program").unwrap();
    let agent = node.agent_with(&node.plugin("1"), &["--node-ip=192.0.2.7", "--delegate=vendors"]);
    agent.wait_ready();
    assert_eq!(agent.get("/readyz"), Some((200, "ok\n".to_owned())));
    assert_eq!(agent.get("/healthz"), Some((200, "ok\n".to_owned())));
    assert_eq!(agent.get("/else").unwrap().0, 404);
    assert!(node.installed("1"));
    let file: Value = serde_json::from_str(&node.read("conf/node.json")).unwrap();
    assert_eq!(file["resolver"]["tokenFile"], json!(node.path("conf/token")));
    assert_eq!(node.read("conf/token"), "node-token-1");
    assert_eq!(
        (node.mode("conf/token"), node.mode("conf/node.json"), node.mode("bin/knap")),
        (0o600, 0o600, 0o755)
    );

    let told = eventually("an inventory", || {
        let told = node.resolver.inventories().pop()?;
        (told["problems"] == json!([]) && told["pluginVersion"] == "1").then_some(told)
    });
    assert_eq!(node.read("ran"), "");
    let delegates = json!([
        {"type": "bridge", "cniVersions": ["0.4.0", "1.0.0"]},
        {"type": "configure.sh", "cniVersions": []},
        {"type": "kubelet", "cniVersions": []},
        {"type": "macvlan", "cniVersions": []},
        {"type": "vendors", "cniVersions": ["1.1.0"]},
    ]);
    assert_eq!(told["delegates"], delegates);
    assert_eq!(told["underlayAddress"], "192.0.2.7");
    assert_eq!(
        told["bootID"].as_str(),
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().into()
    );
    eventually("it reaps by its node file", || {
        node.read("reaped").starts_with(node.path("conf/node.json").to_str()?).then_some(())
    });

    assert!(agent.stop().success());
    assert!(node.installed("1") && node.read("conf/token") == "node-token-1");
    assert!(!node.path("conf/agent.lock").exists());
}

#[test]
fn what_is_changed_by_others_is_put_right() {
    let node = Node::new();
    let agent = node.agent(&node.plugin("1"));
    agent.wait_ready();
    let right = node.read("conf/node.json");
    fs::remove_file(node.path("bin/knap")).unwrap();
    fs::write(node.path("conf/node.json"), "{}").unwrap();
    fs::set_permissions(node.path("conf/node.json"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(node.path("conf/token")).unwrap();
    eventually("all is put right", || {
        let token = node.read("conf/token") == "node-token-2";
        (node.installed("1") && node.read("conf/node.json") == right && token).then_some(())
    });
    assert_eq!((node.mode("conf/token"), node.mode("conf/node.json")), (0o600, 0o600));
    for (name, wrong, right) in
        [("bin/knap", 0o600, 0o755), ("conf/token", 0o644, 0o600), ("conf/token.json", 0o644, 0o600)]
    {
        fs::set_permissions(node.path(name), fs::Permissions::from_mode(wrong)).unwrap();
        eventually(name, || (node.mode(name) == right).then_some(()));
    }
    agent.wait_ready();
}

#[test]
fn an_inventory_is_told_when_it_changes_and_not_otherwise() {
    let node = Node::new();
    let agent = node.agent(&node.plugin("1"));
    agent.wait_ready();
    let settled = eventually("an inventory without problems", || {
        let told = node.resolver.inventories();
        (told.last()?["problems"] == json!([]) && told.last()?["pluginVersion"] == "1").then_some(told.len())
    });
    // Some looks later.
    let reaped = node.reaped();
    eventually("time goes on", || (node.reaped() > reaped + 2).then_some(()));
    let before = node.resolver.inventories().len();
    assert!(before <= settled + 3, "{before} after {settled}: at most what the start asks for");
    node.script("bin/macvlan", "echo '{\"supportedVersions\": [\"1.1.0\"]}'");
    eventually("the new delegate is told", || {
        let told = node.resolver.inventories().pop()?;
        (told["delegates"] == json!([{"type": "macvlan", "cniVersions": ["1.1.0"]}])).then_some(())
    });
}

#[test]
fn the_images_version_wins_and_the_one_before_is_kept() {
    let node = Node::new();
    for (version, previous) in [("1", ""), ("2", "knap 1:"), ("1", "knap 2:")] {
        let agent = node.agent(&node.plugin(version));
        agent.wait_ready();
        assert!(node.installed(version));
        assert!(node.read("bin/.knap.previous").contains(previous));
        agent.stop();
    }
}

#[test]
fn endpoints_can_change() {
    let node = Node::new();
    let plugin = node.plugin("1");
    node.agent(&plugin).wait_ready();
    let other = "--endpoint=http://127.0.0.1:9";
    let agent = node.agent_with(&plugin, &[other]);
    agent.wait_ready();
    let file: Value = serde_json::from_str(&node.read("conf/node.json")).unwrap();
    assert_eq!(file["resolver"]["endpoints"], json!(["http://127.0.0.1:9", node.resolver.endpoint()]));
    assert_eq!(node.read("conf/token"), "node-token-1", "the token is the same");
}
