//! Provider `cni`: the administrator's own chains of Debian's delegates, with Knap's addresses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use knap_tests::{Host, bare, class, network};
use serde_json::{Value, json};

/// A host whose Networks are chains that begin with the delegate `bridge`.
fn host_with(more: &[Value]) -> Host {
    let bridge = json!({
        "type": "bridge", "bridge": "br-chain", "isGateway": true,
        "capabilities": { "mac": true }, "ipam": { "type": "knap" },
    });
    let mut plugins = vec![bridge];
    plugins.extend_from_slice(more);
    let subnets = json!([{ "cidr": "10.64.0.0/16", "prefixLength": 24, "gateway": "First" }]);
    let class = class(json!({ "provider": "cni", "parameters": { "plugins": plugins }, "subnets": subnets }));
    Host::start_real(&[class, network("shop/blue", &json!({}))], &["shop/blue"])
}

/// The bridge is the delegate's own, which leaves it; all else must be gone.
fn assert_only_the_bridge_is_left(host: &Host) {
    assert_eq!(host.machine().interfaces(), ["br-chain"]);
    host.machine().ip(&["link", "delete", "br-chain"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn bridge_tuning_sbr() {
    let state = tempfile::tempdir().expect("a folder for tuning's state");
    let tuning = json!({
        "type": "tuning", "mtu": 1400, "sysctl": { "net.core.somaxconn": "321" }, "dataDir": state.path(),
    });
    let host = host_with(&[tuning, json!({ "type": "sbr" })]);
    let one = host.pod_of("shop/blue", "one");
    let result = one.add(&host).result();
    let two = host.attached("shop/blue", "two");

    assert_eq!(one.sandbox.mtu("net1"), 1400);
    let somaxconn = one.sandbox.run("cat", &["/proc/sys/net/core/somaxconn"]).stdout;
    assert_eq!(String::from_utf8_lossy(&somaxconn).trim(), "321");
    let rules = one.sandbox.ip_json(&["-4", "rule", "show"]);
    let rules = rules.as_array().expect("a list of rules");
    let own =
        rules.iter().find(|rule| rule["src"] == bare(&one.address())).expect("a rule for the pod's address");
    let table = own["table"].as_str().expect("its table");
    let routes = one.sandbox.ip_json(&["-4", "route", "show", "table", table]);
    let default = routes.as_array().expect("a list").iter().find(|route| route["dst"] == "default");
    assert_eq!(default.map(|route| &route["gateway"]), Some(&result["ips"][0]["gateway"]));
    assert!(one.sandbox.reaches_from(&one.address(), &two.address()));

    one.del(&host);
    two.del(&host);
    assert_only_the_bridge_is_left(&host);
}

#[test]
fn bridge_portmap() {
    let portmap = json!({ "type": "portmap", "snat": true, "capabilities": { "portMappings": true } });
    let host = host_with(&[portmap]);
    let mappings = json!({ "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }] });
    let pod = host.pod_of("shop/blue", "one").with("runtimeConfig", mappings);
    pod.add(&host).result();

    let listener = pod.sandbox.enter(|| TcpListener::bind("0.0.0.0:80").expect("a listener in the pod"));
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        connection.write_all(b"blue").expect("an answer");
    });
    let heard = host.machine().enter(|| {
        let address: SocketAddr = "127.0.0.1:8080".parse().expect("an address");
        let mut connection =
            TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("the mapped port answers");
        let mut heard = String::new();
        connection.read_to_string(&mut heard).expect("an answer");
        heard
    });
    assert_eq!(heard, "blue");
    server.join().expect("the server");

    pod.del(&host);
    let rules = host.machine().run("iptables-save", &["-t", "nat"]).stdout;
    let rules = String::from_utf8_lossy(&rules).into_owned();
    assert!(!rules.contains("8080"), "portmap's rules are still there: {rules}");
    assert_only_the_bridge_is_left(&host);
}

#[test]
fn a_chain_that_fails_at_its_end_is_undone() {
    // No such key: tuning fails after bridge has made the interface.
    let host = host_with(&[json!({ "type": "tuning", "sysctl": { "net.ipv4.no_such_key": "1" } })]);
    let pod = host.pod_of("shop/blue", "one");
    let error = pod.add(&host).error();
    assert!(error.msg.contains("tuning"), "{error:?}");
    assert!(!pod.sandbox.has_interface("net1"), "bridge was not undone");
    assert_only_the_bridge_is_left(&host);
}
