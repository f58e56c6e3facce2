//! 200 parallel ADD/DEL pairs over one Network.

use std::collections::HashSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use knap_tests::{Call, Host, Sandbox, Seed, thin_config};
use serde_json::json;

const PAIRS: usize = 200;
const WORKERS: usize = 16;

fn sandboxes(host: &Host) -> Vec<Sandbox> {
    (0..WORKERS).map(|worker| host.pod(&format!("pod-{worker}"))).collect()
}

/// Runs `work` for every number below [`PAIRS`], by workers with a sandbox each.
fn in_parallel(sandboxes: &[Sandbox], order: &[usize], work: impl Fn(usize, &Sandbox) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for sandbox in sandboxes {
            scope.spawn(|| {
                while let Some(number) = order.get(next.fetch_add(1, Ordering::SeqCst)) {
                    work(*number, sandbox);
                }
            });
        }
    });
}

fn assert_no_locks(host: &Host) {
    assert_eq!(fs::read_dir(host.ledger.folder().join("locks")).unwrap().count(), 0, "lock files");
}

#[test]
fn attached_all_at_once_each_has_its_own_address() {
    let mut seed = Seed::printed("attached_all_at_once_each_has_its_own_address");
    let host = Host::recorded();
    let sandboxes = sandboxes(&host);
    let config = thin_config("shop/blue", "1.0.0");
    let seen = Mutex::new(HashSet::new());
    let mut order: Vec<usize> = (0..PAIRS).collect();
    in_parallel(&sandboxes, &order, |number, sandbox| {
        let answer = Call::add(&format!("c{number}"), sandbox, &config).run(&host);
        let result = answer.result();
        let (address, mac) = (answer.addresses().remove(0), result["interfaces"][0]["mac"].to_string());
        let mut seen = seen.lock().unwrap();
        assert!(seen.insert(address.clone()), "{address} twice");
        assert!(seen.insert(mac.clone()), "{mac} twice");
    });
    assert_eq!(host.resolver.leases("shop/blue").len(), PAIRS);
    assert_eq!(host.ledger.entries().len(), PAIRS);
    seed.shuffle(&mut order);
    in_parallel(&sandboxes, &order, |number, sandbox| {
        Call::del(&format!("c{number}"), sandbox, &config).run(&host).quiet();
    });
    assert_eq!(host.delegates.calls().len(), PAIRS * 6);
    assert_no_locks(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn attached_and_detached_in_turns_no_two_live_ones_share_an_address() {
    let host = Host::recorded();
    let sandboxes = sandboxes(&host);
    let config = thin_config("shop/blue", "1.0.0");
    let live = Mutex::new(HashSet::new());
    let order: Vec<usize> = (0..PAIRS).collect();
    in_parallel(&sandboxes, &order, |number, sandbox| {
        let container = format!("c{number}");
        let address = Call::add(&container, sandbox, &config).run(&host).addresses().remove(0);
        assert!(live.lock().unwrap().insert(address.clone()), "{address} twice");
        // It counts as free from here on, a moment before DEL makes it so.
        assert!(live.lock().unwrap().remove(&address));
        Call::del(&container, sandbox, &config).run(&host).quiet();
    });
    assert_no_locks(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn calls_for_one_attachment_at_once_leave_one_or_nothing() {
    let mut seed = Seed::printed("calls_for_one_attachment_at_once_leave_one_or_nothing");
    let host = Host::recorded();
    // Half of it an ADD waits for the lock; each of 24 has its turn.
    host.write_node_file(&json!({ "addTimeoutSeconds": 240 }));
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    let adds: Vec<bool> = (0..24).map(|_| seed.below(2) == 0).collect();
    std::thread::scope(|scope| {
        for add in &adds {
            let (host, pod, config) = (&host, &pod, &config);
            scope.spawn(move || {
                let call = if *add { Call::add("c1", pod, config) } else { Call::del("c1", pod, config) };
                assert_eq!(call.run(host).status, Some(0));
            });
        }
    });
    assert_eq!(host.resolver.leases("shop/blue").len(), host.ledger.entries().len());
    assert!(host.ledger.entries().len() <= 1);
    Call::del("c1", &pod, &config).run(&host).quiet();
    assert_no_locks(&host);
    host.assert_nothing_left("shop/blue");
}
