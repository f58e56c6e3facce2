//! Names of the objects whose creation is a lock (design: kinds). Two replicas that want one thing must come to one
//! name, so they are made here and nowhere else.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::{Mac, MacCode, Slot};

/// `subnet-<scope>-<hex of the first address>-<length>`. Subnets of unequal size have unequal names: overlaps are
/// found by a look afterwards, see `first_conflict`.
pub fn subnet_name(scope: &str, cidr: IpNetwork) -> String {
    let length = cidr.prefix();
    match cidr.network() {
        IpAddr::V4(first) => format!("subnet-{scope}-{:08x}-{length}", first.to_bits()),
        IpAddr::V6(first) => format!("subnet-{scope}-{:032x}-{length}", first.to_bits()),
    }
}

/// `vlan-<fabric>-100`.
pub fn vlan_name(fabric: &str, vlan: u16) -> String {
    format!("vlan-{fabric}-{vlan}")
}

/// `vni-10042`.
pub fn vni_name(vni: u32) -> String {
    format!("vni-{vni}")
}

/// `mac-1f2e`.
pub fn mac_name(code: MacCode) -> String {
    format!("mac-{code}")
}

/// `address-<scope>-<hex>`: an address that was asked for and that no slot stands for.
pub fn address_name(scope: &str, address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("address-{scope}-{:08x}", address.to_bits()),
        IpAddr::V6(address) => format!("address-{scope}-{:032x}", address.to_bits()),
    }
}

/// `mac-<scope>-<hex>`: a hardware address that was asked for and is not its slot's own.
pub fn requested_mac_name(scope: &str, mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac.0;
    format!("mac-{scope}-{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")
}

/// `claim-<hash>`: that an address is kept for somebody, and which. Without this, two replicas could keep two.
pub fn claim_name(hash: u64) -> String {
    format!("claim-{hash:016x}")
}

/// Whether it was made by [`claim_name`].
pub fn is_claim_name(name: &str) -> bool {
    name.starts_with("claim-")
}

/// `shop.blue-5`: the lease on a slot.
pub fn lease_name(namespace: &str, network: &str, slot: Slot) -> String {
    format!("{namespace}.{network}-{slot}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_resource() {
        let name = |cidr: &str| subnet_name("cluster", cidr.parse().unwrap());
        assert_eq!(name("10.64.7.0/24"), "subnet-cluster-0a400700-24");
        assert_eq!(name("10.64.7.9/24"), name("10.64.7.0/24"));
        assert_eq!(name("fd00:64::/64"), "subnet-cluster-fd000064000000000000000000000000-64");
        assert_eq!(vlan_name("dc-a", 100), "vlan-dc-a-100");
        assert_eq!(vni_name(10042), "vni-10042");
        assert_eq!(mac_name(MacCode::new(0x1f2e).unwrap()), "mac-1f2e");
        assert_eq!(
            address_name("cluster", "fd00::1:0:0".parse().unwrap()),
            "address-cluster-fd000000000000000000000100000000"
        );
        assert_eq!(
            requested_mac_name("cluster", "02:00:5E:10:00:01".parse().unwrap()),
            "mac-cluster-02005e100001"
        );
        assert_eq!(claim_name(0x1f2e), "claim-0000000000001f2e");
        assert!(is_claim_name(&claim_name(1)) && !is_claim_name("mac-1f2e"));
        assert_eq!(lease_name("shop", "blue", Slot::new(5).unwrap()), "shop.blue-5");
    }
}
