//! Processes that die and machines that reboot, with real delegates: nothing may be left (design: invariant 4).

use std::time::Duration;

use knap_tests::{Call, Host, Pod, Seed, bridge_class, eventually, network, thin_config};
use serde_json::json;

fn host() -> Host {
    Host::start_real(&[bridge_class(), network("shop/blue", &json!({}))], &["shop/blue"])
}

/// One pod for each fault point, whose ADD, or DEL where ADD never comes there, has died at it.
fn casualties(host: &Host) -> Vec<Pod> {
    let (mut pods, mut deaths) = (Vec::new(), 0);
    for (number, point) in host.fault_points().iter().enumerate() {
        let pod = host.pod_of("shop/blue", &format!("p{number}"));
        let add = pod.add_call().fault(point).run(host);
        let died = add.status.is_none() || {
            add.result();
            pod.del_call().fault(point).run(host).status.is_none()
        };
        deaths += usize::from(died);
        pods.push(pod);
    }
    assert!(deaths > pods.len() / 2, "only {deaths} of {} fault points were reached", pods.len());
    pods
}

#[test]
fn killed_at_any_point_then_del() {
    let host = host();
    for pod in casualties(&host) {
        pod.del(&host);
    }
    assert_eq!(host.machine().interfaces(), Vec::<String>::new());
    host.reap_all("shop/blue");
}

#[test]
fn killed_at_any_point_then_the_namespaces_go_and_reap() {
    let host = host();
    drop(casualties(&host));
    host.reap_all("shop/blue");
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
        pod.del(&host);
        assert_eq!(host.machine().interfaces(), Vec::<String>::new(), "round {round}");
    }
    host.reap_all("shop/blue");
}

#[test]
fn the_resolver_dies_in_mid_burst() {
    let host = host();
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
    host.reap_all("shop/blue");
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

    host.reap().result();
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
    host.reap().result();
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
