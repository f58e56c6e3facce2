use serde_json::json;

use super::*;

fn version(version: u64, attempt: &str) -> NetworkLease {
    let holder = json!({
        "attempt": attempt, "node": "n1", "bootID": "b1", "containerID": "c1", "ifname": "net1",
        "pod": {"namespace": "shop", "name": "web-0", "uid": "p1"}
    });
    let network = json!({"namespace": "shop", "name": "blue", "uid": "u1"});
    let mut lease = NetworkLease::new(
        "shop.blue-5",
        serde_json::from_value(json!({
            "network": network, "slot": 5, "addresses": ["10.64.7.5/24"], "holders": [holder]
        }))
        .unwrap(),
    );
    lease.metadata.resource_version = Some(version.to_string());
    lease
}

#[test]
fn an_answer_that_comes_late_does_not_bring_back_what_is_gone() {
    let (leases, network) = (LeaseIndex::default(), "shop/blue".parse().unwrap());
    leases.insert(&version(5, "a"));
    assert_eq!(leases.count_of_uid("u1"), 1, "before the watch tells it");
    leases.tell(&version(5, "a"));
    assert!(leases.tell_gone(&version(6, "a")), "none is left of its Network");
    leases.insert(&version(5, "a"));
    leases.correct(&network, &[], &[version(5, "a")]);
    assert_eq!((leases.len(), leases.count_of_uid("u1")), (0, 0));
    leases.insert(&version(7, "b"));
    assert_eq!(leases.slots_of(&network, "u1"), [Slot::new(5).unwrap()]);
}

#[test]
fn an_answer_that_comes_late_does_not_hide_who_has_the_slot_since() {
    let leases = LeaseIndex::default();
    leases.tell(&version(5, "a"));
    leases.tell_gone(&version(6, "a"));
    leases.tell(&version(7, "b"));
    leases.insert(&version(5, "a"));
    leases.tell_gone(&version(8, "b"));
    assert!(leases.is_empty());
}

#[test]
fn a_watch_that_begins_anew_has_passed_what_it_shows() {
    let leases = LeaseIndex::default();
    leases.tell(&version(5, "a"));
    leases.restart();
    leases.complete();
    leases.insert(&version(5, "a"));
    assert!(leases.is_empty());
}
