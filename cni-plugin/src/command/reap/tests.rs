use knap_protocol::JsonObject;
use serde_json::json;

use super::*;
use crate::delegate::testing::Fake;
use crate::fixture::{Node, key};
use crate::ledger::{Durability, Entry, entry_for_tests};

/// An ADD that died, with one delegate.
fn dead(session: &Session<'_>, container: &str, delegate: &str) {
    let plugin: JsonObject = serde_json::from_value(json!({ "type": delegate })).unwrap();
    let key = key(container, "net1");
    let cni_path = session.environment.text("CNI_PATH");
    let entry = Entry { plugins: vec![plugin], cni_path, ..entry_for_tests(&key) };
    let mut locked = session.ledger.lock(&key, Instant::now()).unwrap();
    locked.write(&entry, Durability::Cached).unwrap();
}

#[test]
fn a_delegate_that_hangs_keeps_nothing_else_from_its_turn() {
    let patience = Duration::from_secs(5);
    let exec = Fake::new(&["stuck", "well"]).hanging("DEL stuck", patience * 2);
    let node = Node::start(|path| if path.ends_with(":reconcile") { (200, "{}") } else { (204, "") });
    let environment = node.environment().with("CNI_PATH", exec.folder());
    let process = Process { environment: &environment, exec: &exec, started: Instant::now() };
    let session = Session::open(&process).unwrap();
    // The one that hangs is the older, and comes first.
    dead(&session, "c1", "stuck");
    session.ledger.lock(&key("c1", "net1"), Instant::now()).unwrap().touch().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    dead(&session, "c2", "well");
    let waits = key("c3", "net1");
    session.ledger.lock(&waits, Instant::now()).unwrap().to_tombstone(&entry_for_tests(&waits)).unwrap();

    let mut first = ReapSummary::default();
    reap(&process, patience, &mut first).unwrap();
    assert_eq!((first.entries, first.torn_down, first.released, first.tombstones), (2, 0, 1, 0), "{first:?}");
    let [hung, left] = first.failures.as_slice() else { panic!("{first:?}") };
    assert!(hung.contains("c1/net1") && left.starts_with("1 dead"), "{first:?}");
    assert!(node.asked().iter().any(|path| path.ends_with(":reconcile")), "{:?}", node.asked());

    let mut second = ReapSummary::default();
    reap(&process, patience, &mut second).unwrap();
    assert_eq!((second.torn_down, second.released), (1, 1), "{second:?}");
    assert_eq!(session.ledger.keys().unwrap(), [key("c1", "net1")]);
}

#[test]
fn of_many_failures_the_first_are_told_and_how_many_more_there_are() {
    let mut failures: Vec<String> = (0..TOLD).map(|number| number.to_string()).collect();
    shorten(&mut failures);
    assert_eq!(failures.len(), TOLD);
    failures.extend(["a".to_owned(), "b".to_owned()]);
    shorten(&mut failures);
    assert_eq!((failures.len(), failures.last().unwrap().split(' ').next()), (TOLD + 1, Some("2")));
}
