//! What the kernel has, read back from it: addresses, routes, links, and whether packets flow.

use serde_json::Value;

use crate::Sandbox;

impl Sandbox {
    /// Global addresses of an interface with their prefix lengths, IPv4 first.
    pub fn addresses(&self, ifname: &str) -> Vec<String> {
        let links = self.ip_json(&["address", "show", "dev", ifname, "scope", "global"]);
        let infos = links[0]["addr_info"].as_array().cloned().unwrap_or_default();
        // `ip` leaves an empty object for each address that its filter took out.
        let infos = infos.iter().filter(|info| info.get("local").is_some());
        infos.map(|info| format!("{}/{}", text(info, "local"), info["prefixlen"])).collect()
    }

    /// The hardware address of an interface.
    pub fn mac(&self, ifname: &str) -> String {
        text(&self.link(ifname), "address")
    }

    /// The MTU of an interface, in bytes.
    pub fn mtu(&self, ifname: &str) -> u64 {
        self.link(ifname)["mtu"].as_u64().expect("an MTU")
    }

    /// All that `ip link` says of an interface.
    pub fn link(&self, ifname: &str) -> Value {
        self.ip_json(&["link", "show", "dev", ifname])[0].take()
    }

    /// Whether there is an interface of this name.
    pub fn has_interface(&self, ifname: &str) -> bool {
        self.interfaces().iter().any(|name| name == ifname)
    }

    /// Names of the bridges in this namespace.
    pub fn bridges(&self) -> Vec<String> {
        let links = self.ip_json(&["link", "show", "type", "bridge"]);
        links.as_array().expect("a list of links").iter().map(|link| text(link, "ifname")).collect()
    }

    /// The route to a destination in a family's main table: `-4` or `-6`.
    pub fn route(&self, family: &str, destination: &str) -> Option<Value> {
        let routes = self.ip_json(&[family, "route", "show", "exact", destination]);
        routes.get(0).cloned()
    }

    /// Whether an address answers.
    pub fn reaches(&self, address: &str) -> bool {
        self.run("ping", &["-c", "3", "-i", "0.1", "-W", "3", "-q", bare(address)]).status.success()
    }

    /// Whether an address answers to packets from this source, which policy routing looks at.
    pub fn reaches_from(&self, source: &str, address: &str) -> bool {
        let ping = ["-I", bare(source), "-c", "3", "-i", "0.1", "-W", "3", "-q", bare(address)];
        self.run("ping", &ping).status.success()
    }

    /// Whether an address stays silent, though this namespace is told that it is on the interface's link.
    pub fn misses_on_link(&self, address: &str, ifname: &str) -> bool {
        self.ip(&["route", "replace", bare(address), "dev", ifname]);
        !self.run("ping", &["-c", "2", "-i", "0.1", "-W", "1", "-q", bare(address)]).status.success()
    }
}

/// An address without its prefix length.
pub fn bare(address: &str) -> &str {
    address.split('/').next().unwrap_or(address)
}

fn text(object: &Value, key: &str) -> String {
    object[key].as_str().unwrap_or_else(|| panic!("no {key:?} in {object}")).to_owned()
}
