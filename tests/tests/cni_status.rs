//! STATUS: whether attachments can be served.

use knap_tests::{Action, Call, Host, Script, thin_config};
use rstest::rstest;

fn attached() -> Host {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    Call::add("c1", &pod, &thin_config("shop/blue", "1.1.0")).run(&host).result();
    host.delegates.forget();
    host
}

fn status(host: &Host) -> knap_tests::Answer {
    Call::without_attachment("STATUS", &thin_config("shop/blue", "1.1.0")).run(host)
}

#[test]
fn it_is_quiet_when_all_is_well() {
    let host = attached();
    status(&host).quiet();
    assert_eq!(host.delegates.steps(), ["STATUS first", "STATUS second", "STATUS third"]);
    assert_eq!(host.delegates.the("STATUS second").text("/cniVersion"), Some("1.1.0"));
}

#[test]
fn without_the_resolver_it_says_so() {
    let host = attached();
    host.resolver.stop();
    status(&host).fails(50, &[&host.resolver.endpoint()]);
    host.resolver.start();
    status(&host).quiet();
}

#[test]
fn a_resolver_that_does_not_answer_is_none() {
    let host = attached();
    host.resolver.freeze();
    let answer = status(&host);
    host.resolver.thaw();
    answer.fails(50, &[]);
}

#[test]
fn without_room_for_the_ledger_it_says_so() {
    let host = Host::recorded();
    let disk = host.tiny_disk(256 * 1024);
    status(&host).quiet();
    disk.fill(4096);
    status(&host).fails(50, &[host.ledger.folder().to_str().unwrap(), "free space"]);
    disk.empty();
    disk.read_only(true);
    status(&host).fails(50, &["Read-only file system"]);
    disk.read_only(false);
    status(&host).quiet();
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
}

#[rstest]
fn a_delegates_answer_is_passed_on(#[values(50, 51, 117)] code: u32) {
    let host = attached();
    let script = Script::default().on("STATUS", &[Action::Error(code, "the uplink is down".into())]);
    host.delegates.install_as("second", &script);
    status(&host).fails(code, &["second", "the uplink is down"]);
}

#[test]
fn a_delegate_of_an_older_version_is_not_asked() {
    let host = Host::recorded();
    host.delegates.install_as("first", &Script::versions(&["0.4.0", "1.0.0"]));
    let pod = host.pod("web-0");
    Call::add("c1", &pod, &thin_config("shop/blue", "1.1.0")).run(&host).result();
    host.delegates.forget();
    status(&host).quiet();
    assert_eq!(host.delegates.steps(), ["STATUS second", "STATUS third"]);
}

#[test]
fn it_changes_nothing() {
    let host = attached();
    let before = (host.ledger.entry("c1", "net1"), host.resolver.leases("shop/blue"));
    status(&host).quiet();
    assert_eq!((host.ledger.entry("c1", "net1"), host.resolver.leases("shop/blue")), before);
}
