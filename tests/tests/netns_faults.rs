//! Processes that die and machines that reboot, with real delegates: nothing may be left (design: invariant 4).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use knap_tests::{Call, Host, Pod, Seed, bridge_class, eventually, network, thin_config};
use serde_json::json;

fn host() -> Host {
    Host::start_real(&[bridge_class(), network("shop/blue", &json!({}))], &["shop/blue"])
}

/// Kills ADD at a fault point, or DEL where ADD never comes there. Whether anything died.
fn die_at(point: &str, pod: &Pod, host: &Host) -> bool {
    let add = pod.add_call().fault(point).run(host);
    if add.status.is_none() {
        return true;
    }
    add.result();
    pod.del_call().fault(point).run(host).status.is_none()
}

#[test]
fn killed_at_any_point_then_del() {
    let host = host();
    let mut deaths = 0;
    for (number, point) in host.fault_points().iter().enumerate() {
        let pod = host.pod_of("shop/blue", &format!("p{number}"));
        deaths += usize::from(die_at(point, &pod, &host));
        pod.del(&host);
        host.reap().quiet();
        host.assert_nothing_left("shop/blue");
    }
    assert!(deaths >= 5, "only {deaths} fault points were reached");
}

#[test]
fn killed_at_any_point_then_the_namespace_goes_and_reap() {
    let host = host();
    for (number, point) in host.fault_points().iter().enumerate() {
        let pod = host.pod_of("shop/blue", &format!("p{number}"));
        die_at(point, &pod, &host);
        drop(pod);
        host.reap().quiet();
        host.assert_nothing_left("shop/blue");
    }
}

#[test]
fn killed_at_any_moment_then_del() {
    let host = host();
    let mut seed = Seed::printed("killed_at_any_moment_then_del");
    for round in 0..24 {
        let pod = host.pod_of("shop/blue", &format!("p{round}"));
        let mut child = pod.add_call().spawn(&host);
        std::thread::sleep(Duration::from_micros(seed.below(120_000) as u64));
        child.kill().expect("SIGKILL");
        child.wait().expect("wait");
        // A delegate that was running may live a moment longer than its caller; DEL has to cope, or its retry has.
        eventually("DEL succeeds", || (pod.del_call().run(&host).status == Some(0)).then_some(()));
        assert!(!pod.sandbox.has_interface("net1"), "round {round}");
        host.reap().quiet();
        host.assert_nothing_left("shop/blue");
    }
}

#[test]
fn the_resolver_dies_in_mid_burst() {
    let mut host = host();
    let pods: Vec<Pod> = (0..16).map(|number| host.pod_of("shop/blue", &format!("p{number}"))).collect();
    let children: Vec<_> = pods.iter().map(|pod| pod.add_call().spawn(&host)).collect();
    eventually("some are attached", || (!host.resolver.leases("shop/blue").is_empty()).then_some(()));
    host.resolver.kill();
    for mut child in children {
        child.wait().expect("wait");
    }
    for pod in &pods {
        pod.del(&host);
    }
    assert_eq!(host.machine().interfaces(), Vec::<String>::new());

    host.resolver.start();
    // A release whose PUT was never answered is sent again after that PUT's deadline.
    eventually("what waited is delivered", || {
        host.reap().quiet();
        (host.ledger.traces().is_empty() && host.resolver.leases("shop/blue").is_empty()).then_some(())
    });
    host.assert_nothing_left("shop/blue");
}

#[test]
fn after_a_reboot_reap_frees_what_ran() {
    let host = host();
    let pods: Vec<Pod> = (0..5).map(|number| host.attached("shop/blue", &format!("p{number}"))).collect();
    assert_eq!(host.resolver.leases("shop/blue").len(), 5);
    // Namespaces go without any DEL, and links go with them.
    drop(pods);
    for bridge in host.machine().bridges() {
        host.machine().ip(&["link", "delete", &bridge]);
    }
    host.reboot(2);

    host.reap().quiet();
    host.assert_nothing_left("shop/blue");
    let pod = host.attached("shop/blue", "afterwards");
    pod.del(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn reap_leaves_running_pods_alone() {
    let host = host();
    let (alive, dead) = (host.attached("shop/blue", "alive"), host.attached("shop/blue", "dead"));
    drop(dead);
    host.reap().quiet();
    assert_eq!(host.resolver.leases("shop/blue").len(), 1);
    let gateway = host.resolver.network("shop/blue").and_then(|view| view.subnets[0].gateway.clone());
    assert!(alive.sandbox.reaches(&gateway.expect("a gateway")));
    alive.del(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn gc_removes_what_the_runtime_no_longer_knows() {
    let host = host();
    let (kept, lost) = (host.attached("shop/blue", "kept"), host.attached("shop/blue", "lost"));
    let config = thin_config("shop/blue", "1.1.0");
    Call::gc(&config, &[(kept.container.as_str(), "net1")]).run(&host).quiet();
    assert!(!lost.sandbox.has_interface("net1"), "lost was collected");
    assert!(kept.sandbox.has_interface("net1"), "kept was not");
    kept.del(&host);
    host.assert_nothing_left("shop/blue");
}
