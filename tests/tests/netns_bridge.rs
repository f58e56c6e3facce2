//! Provider `bridge` with Debian's delegate: what the kernel has afterwards, and packets.

use knap_tests::{Host, bare, bridge_class, class, network};
use serde_json::json;

#[test]
fn pods_reach_each_other_and_the_gateway() {
    let host = Host::start_real(&[bridge_class(), network("shop/blue", &json!({}))], &["shop/blue"]);
    let (one, two) = (host.attached("shop/blue", "one"), host.attached("shop/blue", "two"));

    let view = host.resolver.network("shop/blue").expect("shop/blue");
    let gateway = view.subnets[0].gateway.clone().expect("a gateway");
    let bridge = host.machine().bridges().pop().expect("a bridge");
    assert!(bridge.starts_with("kn"), "{bridge}");
    assert_eq!(host.machine().addresses(&bridge), [format!("{gateway}/24")]);
    assert_eq!(host.machine().link(&bridge)["ifalias"], format!("knap:{}", view.uid));

    assert!(one.sandbox.reaches(&two.address()), "from one to two");
    assert!(two.sandbox.reaches(&one.address()), "from two to one");
    assert!(one.sandbox.reaches(&gateway), "from one to the gateway");

    one.del(&host);
    assert!(two.sandbox.reaches(&gateway), "two still has its bridge");
    two.del(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn the_result_says_what_the_kernel_has() {
    let routes = json!([{ "destination": "172.16.0.0/12", "gateway": "10.64.7.1" }]);
    let spec = json!({ "subnets": ["10.64.7.0/24"], "routes": routes });
    let host = Host::start_real(&[bridge_class(), network("shop/blue", &spec)], &["shop/blue"]);
    let pod = host.pod_of("shop/blue", "one");
    let answer = pod.add(&host);
    let result = answer.result();

    assert_eq!(pod.addresses(), answer.addresses());
    assert!(pod.address().starts_with("10.64.7."), "{}", pod.address());
    assert_eq!(result["ips"][0]["gateway"], "10.64.7.1");
    let inside = result["interfaces"].as_array().expect("interfaces").iter();
    let inside = inside.clone().find(|interface| interface["name"] == "net1").expect("net1 in the result");
    assert_eq!(inside["mac"], pod.sandbox.mac("net1"));
    assert!(pod.sandbox.mac("net1").starts_with("0a:"), "a MAC of Knap's own: {}", pod.sandbox.mac("net1"));
    let route = pod.sandbox.route("-4", "172.16.0.0/12").expect("the Network's route");
    assert_eq!((route["gateway"].as_str(), route["dev"].as_str()), (Some("10.64.7.1"), Some("net1")));

    pod.check(&host, &result).quiet();
    pod.del(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn without_a_gateway_the_host_has_no_address_there() {
    let class = class(json!({ "provider": "bridge", "parameters": { "isGateway": false } }));
    let host = Host::start_real(&[class, network("shop/blue", &json!({}))], &["shop/blue"]);
    let one = host.pod_of("shop/blue", "one");
    let result = one.add(&host).result();
    let two = host.attached("shop/blue", "two");

    assert!(result["ips"][0]["gateway"].is_null(), "{result}");
    let bridge = host.machine().bridges().pop().expect("a bridge");
    assert_eq!(host.machine().addresses(&bridge), Vec::<String>::new());
    assert!(one.sandbox.reaches(&two.address()));

    one.del(&host);
    two.del(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_dual_stack_pod_has_one_slot_in_both_families() {
    let subnets = json!([
        { "cidr": "10.64.0.0/16", "prefixLength": 24 },
        { "cidr": "fd00:64::/48", "prefixLength": 64 },
    ]);
    let class = class(json!({ "provider": "bridge", "subnets": subnets }));
    let host = Host::start_real(&[class, network("shop/blue", &json!({}))], &["shop/blue"]);
    let (one, two) = (host.attached("shop/blue", "one"), host.attached("shop/blue", "two"));

    for pod in [&one, &two] {
        let addresses = pod.addresses();
        let [v4, v6] = addresses.as_slice() else { panic!("one address of each family: {addresses:?}") };
        let v4: std::net::Ipv4Addr = bare(v4).parse().expect("an IPv4 address");
        let v6: std::net::Ipv6Addr = bare(v6).parse().expect("an IPv6 address");
        assert_eq!(u16::from(v4.octets()[3]), v6.segments()[7], "{v4} and {v6} are one slot");
    }
    for address in two.addresses() {
        assert!(one.sandbox.reaches(&address), "from one to {address}");
    }

    one.del(&host);
    two.del(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn without_addresses_there_is_still_a_link_and_a_mac() {
    let blue = network("shop/blue", &json!({ "ipam": "None" }));
    let host = Host::start_real(&[bridge_class(), blue], &["shop/blue"]);
    let (one, two) = (host.attached("shop/blue", "one"), host.attached("shop/blue", "two"));
    for pod in [&one, &two] {
        assert_eq!(pod.addresses(), Vec::<String>::new());
        assert!(pod.sandbox.mac("net1").starts_with("0a:"), "{}", pod.sandbox.mac("net1"));
    }

    // Frames flow: whoever brings addresses of his own can talk.
    one.sandbox.ip(&["address", "add", "192.0.2.1/24", "dev", "net1"]);
    two.sandbox.ip(&["address", "add", "192.0.2.2/24", "dev", "net1"]);
    assert!(one.sandbox.reaches("192.0.2.2"));

    one.del(&host);
    two.del(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_pod_gets_the_address_and_mac_it_asks_for() {
    let blue = network("shop/blue", &json!({ "subnets": ["10.64.7.0/24"] }));
    let host = Host::start_real(&[bridge_class(), blue], &["shop/blue"]);
    let asked = json!({ "ips": ["10.64.7.77/24"], "mac": "02:11:22:33:44:55" });
    let one = host.pod_of("shop/blue", "one").with("runtimeConfig", asked.clone());
    one.add(&host).result();
    assert_eq!(one.address(), "10.64.7.77/24");
    assert_eq!(one.sandbox.mac("net1"), "02:11:22:33:44:55");

    let two = host.pod_of("shop/blue", "two").with("runtimeConfig", asked);
    two.add(&host).fails(7, &["10.64.7.77"]);
    let three = host.pod_of("shop/blue", "three");
    three.add_call().args("IP=10.64.7.1").run(&host).fails(7, &["10.64.7.1"]);
    three.add_call().args("IP=10.64.7.78").run(&host).result();
    assert_eq!(three.address(), "10.64.7.78/24");
    assert!(three.sandbox.reaches("10.64.7.77"));

    one.del(&host);
    three.del(&host);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn networks_are_isolated_from_each_other_even_with_the_same_addresses() {
    let class = class(json!({
        "provider": "bridge", "addressScope": "Segment",
        "parameters": { "isGateway": false }, "features": { "isolation": true },
    }));
    let same = json!({ "subnets": ["10.64.7.0/24"] });
    let manifests = [class, network("shop/blue", &same), network("lab/red", &same)];
    let host = Host::start_real(&manifests, &["shop/blue", "lab/red"]);
    let at = |network, name, address: &str| {
        let pod = host.pod_of(network, name).with("runtimeConfig", json!({ "ips": [address] }));
        pod.add(&host).result();
        pod
    };
    let blue = at("shop/blue", "blue", "10.64.7.10/24");
    let neighbour = at("shop/blue", "neighbour", "10.64.7.11/24");
    let red = at("lab/red", "red", "10.64.7.12/24");
    let namesake = at("lab/red", "namesake", "10.64.7.11/24");

    assert_eq!(host.machine().bridges().len(), 2, "a bridge for each");
    assert!(blue.sandbox.reaches("10.64.7.11"), "inside blue");
    assert!(blue.sandbox.misses_on_link("10.64.7.12", "net1"), "from blue to red");
    assert!(red.sandbox.misses_on_link("10.64.7.10", "net1"), "from red to blue");

    for pod in [&blue, &neighbour, &red, &namesake] {
        pod.del(&host);
    }
    host.assert_nothing_left("shop/blue");
    host.assert_nothing_left("lab/red");
}

#[test]
fn a_pod_leaves_while_the_resolver_is_down() {
    let host = Host::start_real(&[bridge_class(), network("shop/blue", &json!({}))], &["shop/blue"]);
    let pod = host.attached("shop/blue", "one");
    host.resolver.stop();

    pod.del(&host);
    assert_eq!(host.machine().interfaces(), Vec::<String>::new(), "the bridge went with its last pod");
    assert_eq!(host.ledger.tombstones().len(), 1, "the release waits");

    host.resolver.start();
    assert_eq!(host.resolver.leases("shop/blue").len(), 1, "nobody told the resolver yet");
    host.reap().result();
    host.assert_nothing_left("shop/blue");
}
