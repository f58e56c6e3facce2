//! The node's token.

use std::fs;

use crate::node::{Node, eventually};
use crate::resolver::SERVICE_ACCOUNT_TOKEN;

#[test]
fn it_is_kept_when_the_agent_starts_again() {
    let node = Node::new();
    let plugin = node.plugin("1");
    for _ in 0..3 {
        let agent = node.agent(&plugin);
        agent.wait_ready();
        agent.stop();
    }
    assert_eq!((node.resolver.given(), node.read("conf/token").as_str()), (1, "node-token-1"));
}

#[test]
fn one_that_never_comes_is_told_and_keeps_nothing_else() {
    let node = Node::new();
    node.resolver.gives_tokens(false);
    let agent = node.agent(&node.plugin("1"));
    agent.wait_unready("NoToken: the API server is away");
    eventually("the rest is done", || (node.installed("1") && node.reaped() > 0).then_some(()));
    node.resolver.gives_tokens(true);
    agent.wait_ready();
    eventually("what was wrong is told as settled", || {
        node.resolver
            .inventories()
            .last()
            .is_some_and(|told| told["problems"] == serde_json::json!([]))
            .then_some(())
    });
}

#[test]
fn a_pod_without_a_token_is_told_what_to_mount() {
    let node = Node::new();
    fs::remove_file(node.path("pod-token")).unwrap();
    let agent = node.agent(&node.plugin("1"));
    agent.wait_unready("mount a projected one with audience knap-resolver");
    fs::write(node.path("pod-token"), SERVICE_ACCOUNT_TOKEN).unwrap();
    agent.wait_ready();
}

#[test]
fn one_that_is_refused_is_obtained_anew() {
    let node = Node::new();
    let plugin = node.plugin("1");
    node.agent(&plugin).wait_ready();
    node.resolver.revoke();
    // At start it is shown, and refused.
    let agent = node.agent(&plugin);
    eventually("another token", || (node.read("conf/token") == "node-token-2").then_some(()));
    agent.wait_ready();
}

#[test]
fn what_a_reap_can_not_do_is_reason_to_try_the_token() {
    let node = Node::new();
    let agent = node.agent(&node.plugin("1"));
    agent.wait_ready();
    fs::write(node.path("failing"), "").unwrap();
    agent.wait_notes("ReapFails: knap reap: 1 releases wait for the resolver; c1/net1: stuck");
    node.resolver.revoke();
    // Not at once: the token has just come, and the next might be refused as well. Unless all this took longer than its trial.
    eventually("it is told, or over", || {
        let told = agent.get("/readyz").is_some_and(|(_, text)| text.contains("TokenRefused"));
        (told || node.resolver.given() > 1).then_some(())
    });
    eventually("another token", || (node.read("conf/token") == "node-token-2").then_some(()));
    fs::remove_file(node.path("failing")).unwrap();
    agent.wait_ready();
}

#[test]
fn it_is_renewed_while_it_still_serves() {
    let node = Node::new();
    node.resolver.lifetime(8);
    let agent = node.agent(&node.plugin("1"));
    agent.wait_ready();
    // At about half its life, at the latest after 5 s.
    eventually("another token", || {
        let token = node.read("conf/token");
        (token.starts_with("node-token-") && token != "node-token-1").then_some(())
    });
    assert!(!agent.log().contains("NoToken"), "{}", agent.log());
}
