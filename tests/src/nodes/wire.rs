//! What joins the machines of a cluster.

use std::net::Ipv4Addr;

use crate::{Sandbox, eventually};

/// The control plane's address for its nodes.
pub(super) const CONTROL: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// The interface of a node that is free for classes to use: a second wire, on which nobody has an address.
pub const UPLINK: &str = "uplink";

/// The address of a node.
pub(super) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, 10 + number)
}

/// The network of a node's pods.
pub(super) fn pods(number: u8) -> String {
    format!("10.244.{number}.0/24")
}

/// Makes both wires in the control plane's namespace.
pub(super) fn lay(control: &Sandbox) {
    for bridge in ["wire", "fabric"] {
        control.ip(&["link", "add", bridge, "type", "bridge"]);
        control.ip(&["link", "set", bridge, "up"]);
    }
    control.ip(&["address", "add", &format!("{CONTROL}/24"), "dev", "wire"]);
    // Who asks for a route to Services must find one, though nothing here goes there.
    control.ip(&["route", "add", "default", "dev", "wire"]);
}

/// Joins a node that has just booted to both.
pub(super) fn join(control: &Sandbox, node: &Sandbox, name: &str, number: u8) {
    for (bridge, inside) in [("wire", "eth0"), ("fabric", UPLINK)] {
        let outside = format!("{name}-{bridge}");
        let namespace = node.path().display().to_string();
        // The wire of its last boot goes with that namespace, a moment after it.
        eventually("the last wire is gone", || (!control.has_interface(&outside)).then_some(()));
        control.ip(&["link", "add", &outside, "type", "veth", "peer", "name", inside, "netns", &namespace]);
        control.ip(&["link", "set", &outside, "master", bridge, "up"]);
        node.ip(&["link", "set", inside, "up"]);
    }
    node.ip(&["address", "add", &format!("{}/24", address(number)), "dev", "eth0"]);
    control.ip(&["route", "replace", &pods(number), "via", &address(number).to_string()]);
    node.ip(&["route", "add", "default", "via", &CONTROL.to_string()]);
    let forwarding = node.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"]);
    assert!(forwarding.status.success(), "net.ipv4.ip_forward: {forwarding:?}");
}
