//! Provider `macvlan` with Debian's delegate, on a veth as uplink.

use knap_tests::{Host, Sandbox, class, network};
use serde_json::json;

/// Joins the host's `up0` to an interface `wire` of another machine on the same wire.
fn cable(host: &Host) -> Sandbox {
    let outside = host.pod("outside");
    let path = outside.path().to_str().expect("a path in UTF-8").to_owned();
    host.machine().ip(&["link", "add", "up0", "type", "veth", "peer", "name", "wire"]);
    // `ip` takes a namespace by path as well as by name.
    host.machine().ip(&["link", "set", "wire", "netns", &path]);
    host.machine().ip(&["link", "set", "up0", "up"]);
    outside.ip(&["link", "set", "wire", "up"]);
    outside.ip(&["address", "add", "10.64.7.250/24", "dev", "wire"]);
    outside
}

#[test]
fn macvlan_pods_reach_each_other_and_the_wire() {
    let class = class(json!({
        "provider": "macvlan", "parameters": { "mode": "bridge" }, "uplinks": [{ "interface": "up0" }],
    }));
    let blue = network("shop/blue", &json!({ "subnets": ["10.64.7.0/24"], "reserved": ["10.64.7.240/28"] }));
    let host = Host::start_real(&[class, blue], &["shop/blue"]);
    let outside = cable(&host);
    let one = host.pod_of("shop/blue", "one");
    let result = one.add(&host).result();
    let two = host.attached("shop/blue", "two");

    assert!(result["ips"][0]["gateway"].is_null(), "the wire's gateway is nobody's to guess: {result}");
    assert!(one.sandbox.mac("net1").starts_with("0a:"), "{}", one.sandbox.mac("net1"));
    assert_eq!(one.sandbox.link("net1")["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(one.sandbox.link("net1")["linkinfo"]["info_data"]["mode"], "bridge");
    assert!(one.sandbox.reaches(&two.address()), "from one to two");
    assert!(one.sandbox.reaches("10.64.7.250"), "from one to the wire");
    assert!(outside.reaches(&two.address()), "from the wire to two");

    one.check(&host, &result).quiet();
    one.del(&host);
    two.del(&host);
    host.machine().ip(&["link", "delete", "up0"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn macvlan_without_its_uplink_fails_and_leaves_nothing() {
    let class = class(json!({ "provider": "macvlan", "uplinks": [{ "interface": "up0" }] }));
    let host = Host::start_real(&[class, network("shop/blue", &json!({}))], &["shop/blue"]);
    let pod = host.pod_of("shop/blue", "one");
    let error = pod.add(&host).error();
    assert!(error.msg.contains("macvlan"), "{error:?}");
    // Debian's delegate can't DEL without the uplink either: what is left goes with the namespace.
    drop(pod);
    host.reap_all("shop/blue");
}
