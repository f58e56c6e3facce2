//! Links that Knap keeps on the host for as long as an attachment uses them.

use knap_tests::{Action, Call, Host, Script, bridge_class, eventually, network, thin_config};
use rstest::rstest;
use serde_json::json;

fn host() -> Host {
    let host = Host::start(&[bridge_class(), network("shop/blue", &json!({}))], &["bridge"]);
    host.resolver.wait_ready("shop/blue");
    host
}

fn alias(host: &Host, link: &str) -> String {
    host.machine().ip_json(&["link", "show", link])[0]["ifalias"].as_str().unwrap_or_default().to_owned()
}

#[rstest]
fn a_bridge_is_there_before_its_delegate_runs_and_goes_with_its_last_user(
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = host();
    let (one, two) = (host.pod("a"), host.pod("b"));
    let config = thin_config("shop/blue", version);
    Call::add("c1", &one, &config).run(&host).result();
    let add = host.delegates.the("ADD bridge");
    let bridge = add.text("/bridge").unwrap().to_owned();
    assert!(bridge.starts_with("kn"), "{add:?}");
    assert_eq!(host.machine().interfaces(), [bridge.as_str()]);
    let uid = host.resolver.network("shop/blue").unwrap().uid;
    assert_eq!(alias(&host, &bridge), format!("knap:{uid}"));
    let link = host.machine().ip_json(&["link", "show", &bridge])[0].clone();
    assert_eq!(link["linkinfo"]["info_kind"], json!("bridge"));
    assert!(link["flags"].as_array().unwrap().contains(&json!("UP")), "{link}");
    Call::add("c2", &two, &config).run(&host).result();
    Call::del("c1", &one, &config).run(&host).quiet();
    assert_eq!(host.machine().interfaces(), [bridge]);
    Call::del("c2", &two, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn the_delegate_finds_it() {
    let host = host();
    let gate = host.folder().join("gate");
    host.delegates.install_as("bridge", &Script::default().on("ADD", &[Action::AwaitFile(gate.clone())]));
    let pod = host.pod("a");
    let mut add = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).spawn(&host);
    eventually("the delegate runs", || (!host.delegates.calls().is_empty()).then_some(()));
    let bridge = host.delegates.the("ADD bridge").text("/bridge").unwrap().to_owned();
    assert_eq!(host.machine().interfaces(), [bridge]);
    std::fs::write(gate, "").unwrap();
    assert!(add.wait().unwrap().success());
}

#[test]
fn a_failed_add_takes_its_link_with_it() {
    let host = host();
    let cut = Action::Error(117, "the cable is cut".into());
    host.delegates.install_as("bridge", &Script::default().on("ADD", &[cut]));
    let pod = host.pod("a");
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).fails(117, &["bridge"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_link_of_that_name_that_is_not_ours_is_left_alone() {
    let host = host();
    let pod = host.pod("a");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    let bridge = host.delegates.the("ADD bridge").text("/bridge").unwrap().to_owned();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.delegates.forget();
    host.machine().add_interface(&bridge);
    let error = Call::add("c1", &pod, &config).run(&host).error();
    assert!(error.msg.contains(&bridge), "{error:?}");
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert_eq!(host.machine().interfaces(), [bridge.as_str()]);
    assert_eq!(alias(&host, &bridge), "");
    assert_eq!(host.resolver.leases("shop/blue"), Vec::<String>::new());
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
}

#[test]
fn a_link_that_lost_our_mark_is_not_removed() {
    let host = host();
    let pod = host.pod("a");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    let bridge = host.delegates.the("ADD bridge").text("/bridge").unwrap().to_owned();
    host.machine().ip(&["link", "set", &bridge, "alias", "mine"]);
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.machine().interfaces(), [bridge]);
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
    assert_eq!(host.resolver.leases("shop/blue"), Vec::<String>::new());
}

#[test]
fn a_link_that_is_gone_is_no_error() {
    let host = host();
    let pod = host.pod("a");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    let bridge = host.delegates.the("ADD bridge").text("/bridge").unwrap().to_owned();
    host.machine().ip(&["link", "del", &bridge]);
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_running_pod_whose_entry_is_corrupt_keeps_its_link() {
    let host = host();
    let pod = host.pod("a");
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    pod.add_interface("net1");
    let bridge = host.delegates.the("ADD bridge").text("/bridge").unwrap().to_owned();
    let file = host.ledger.entry_file("c1", "net1");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.truncate(text.trim_end().len() - 1);
    std::fs::write(&file, text).unwrap();
    for _ in 0..2 {
        let answer = host.reap();
        assert!(answer.status == Some(0) && answer.stdout.contains("\"corrupt\":1"), "{answer:?}");
        assert_eq!(host.machine().interfaces(), [bridge.as_str()]);
    }
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_eq!(host.machine().interfaces(), [bridge.as_str()], "its interface is still there");
    pod.remove();
    eventually("all of it is gone", || {
        host.reap();
        host.ledger.traces().is_empty().then_some(())
    });
    host.assert_nothing_left("shop/blue");
}

#[test]
fn two_networks_have_two_links() {
    let host = host();
    host.resolver.write_manifest("red.yaml", &network("shop/red", &json!({})));
    host.resolver.wait_ready("shop/red");
    let pod = host.pod("a");
    let (blue, red) = (thin_config("shop/blue", "1.0.0"), thin_config("shop/red", "1.0.0"));
    Call::add("c1", &pod, &blue).run(&host).result();
    Call::add("c1", &pod, &red).ifname("net2").run(&host).result();
    assert_eq!(host.machine().interfaces().len(), 2);
    Call::del("c1", &pod, &blue).run(&host).quiet();
    assert_eq!(host.machine().interfaces().len(), 1);
    Call::del("c1", &pod, &red).ifname("net2").run(&host).quiet();
    host.assert_nothing_left("shop/blue");
    host.assert_nothing_left("shop/red");
}

#[test]
fn after_a_reboot_the_link_is_made_again() {
    let host = host();
    let config = thin_config("shop/blue", "1.0.0");
    let pod = host.pod("a");
    Call::add("c1", &pod, &config).run(&host).result();
    let bridge = host.delegates.the("ADD bridge").text("/bridge").unwrap().to_owned();
    host.reboot(2);
    host.machine().ip(&["link", "del", &bridge]);
    pod.remove();
    let after = host.pod("b");
    Call::add("c2", &after, &config).run(&host).result();
    assert_eq!(host.machine().interfaces(), [bridge]);
    host.reap();
    assert_eq!(host.ledger.entries(), ["c2@net1.json"]);
    Call::del("c2", &after, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}
