//! Many attachments at once, with real delegates.

use std::collections::BTreeSet;
use std::sync::{Barrier, Mutex};

use knap_tests::{Host, Pod, bridge_class, eventually, network};
use serde_json::json;

const PAIRS: usize = 200;

/// Addresses and MACs that somebody has at this moment.
#[derive(Default)]
struct InUse(Mutex<BTreeSet<String>>);

impl InUse {
    fn take(&self, names: &[String]) {
        let mut in_use = self.0.lock().expect("nobody panicked");
        for name in names {
            assert!(in_use.insert(name.clone()), "{name} is given out twice");
        }
    }

    fn give_back(&self, names: &[String]) {
        let mut in_use = self.0.lock().expect("nobody panicked");
        for name in names {
            in_use.remove(name);
        }
    }
}

/// Attaches a pod. Where the resolver does not answer in its time it is asked again, as a kubelet does.
fn add(host: &Host, pod: &Pod) {
    for _ in 0..20 {
        let answer = pod.add(host);
        if answer.status == Some(0) {
            return;
        }
        answer.fails(11, &[]);
    }
    panic!("{} is not attached by twenty ADDs", pod.container);
}

#[test]
fn two_hundred_pairs_over_one_network() {
    let host = Host::start_real(&[bridge_class(), network("shop/blue", &json!({}))], &["shop/blue"]);
    // All 200 start in one moment on what may be two busy cores: the order is what is tested, not the pace.
    host.write_node_file(&json!({ "addTimeoutSeconds": 240 }));
    let pods: Vec<Pod> = (0..PAIRS).map(|number| host.pod_of("shop/blue", &format!("p{number}"))).collect();
    let (in_use, start) = (InUse::default(), Barrier::new(PAIRS));

    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| {
                start.wait();
                add(&host, pod);
                let mut names = pod.addresses();
                names.push(pod.sandbox.mac("net1"));
                assert_eq!(names.len(), 2, "an address and a MAC: {names:?}");
                in_use.take(&names);
                in_use.give_back(&names);
                pod.del(&host);
            });
        }
    });

    host.assert_nothing_left("shop/blue");
}

#[test]
fn forty_at_one_time_reach_their_gateway() {
    let host = Host::start_real(&[bridge_class(), network("shop/blue", &json!({}))], &["shop/blue"]);
    let pods: Vec<Pod> = (0..40).map(|number| host.pod_of("shop/blue", &format!("p{number}"))).collect();
    let in_use = InUse::default();
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| {
                add(&host, pod);
                in_use.take(&[pod.address(), pod.sandbox.mac("net1")]);
            });
        }
    });
    eventually("each has one lease", || {
        // What a question left that was not answered.
        host.send_releases("shop/blue");
        (host.resolver.leases("shop/blue").len() == pods.len()).then_some(())
    });
    let view = host.resolver.network("shop/blue").expect("shop/blue");
    let gateway = view.subnets[0].gateway.clone().expect("a gateway");
    for pod in &pods {
        assert!(pod.sandbox.reaches(&gateway), "{} does not reach {gateway}", pod.container);
    }
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| pod.del(&host));
        }
    });
    host.assert_nothing_left("shop/blue");
}
