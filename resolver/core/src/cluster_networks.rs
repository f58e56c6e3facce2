//! The networks that the cluster itself uses: no Network's subnet may overlap them (design: invariant 7).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::AddressRange;

/// A network that the cluster uses, or one address of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNetwork {
    /// Its addresses.
    pub cidr: IpNetwork,
    /// What it is, as the middle of a message: `the pod network of node n1`.
    pub what: String,
}

/// All of them, to be looked up by what a subnet overlaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterNetworks {
    /// By their first address; none lies inside another.
    ranges: BTreeMap<IpAddr, ClusterNetwork>,
    /// Single addresses, those of nodes mostly. A provider's network may well be the one that nodes are in, as long as
    /// their addresses are given to nobody else.
    addresses: BTreeMap<IpAddr, ClusterNetwork>,
}

/// A subnet that the cluster is in the way of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterConflict {
    /// It shares addresses with a network of the cluster's.
    #[error("subnet {subnet} overlaps {cidr}, {what}: choose a subnet outside of it{}", instead(.free.as_ref()))]
    Range {
        /// The Network's.
        subnet: IpNetwork,
        /// The cluster's.
        cidr: IpNetwork,
        /// What that is.
        what: String,
        /// A subnet of this size that is free.
        free: Option<IpNetwork>,
    },
    /// It would give out an address that is in use.
    #[error("subnet {subnet} holds {address}, {what}: add it to spec.reserved, or choose another subnet{}", instead(.free.as_ref()))]
    Address {
        /// The Network's.
        subnet: IpNetwork,
        /// The cluster's.
        address: IpAddr,
        /// What that is.
        what: String,
        /// A subnet of this size that is free.
        free: Option<IpNetwork>,
    },
}

/// The end of a message that says what to write instead.
fn instead(free: Option<&IpNetwork>) -> String {
    free.map(|free| format!(" ({free} is free)")).unwrap_or_default()
}

impl ClusterNetworks {
    /// Of all that is known; in any order, and as often as it is known.
    pub fn new(networks: impl IntoIterator<Item = ClusterNetwork>) -> Self {
        let (mut all, mut addresses) = (Vec::new(), BTreeMap::new());
        for network in networks {
            if AddressRange::from(network.cidr).first() == AddressRange::from(network.cidr).last() {
                addresses.entry(network.cidr.ip()).or_insert(network);
            } else {
                all.push(network);
            }
        }
        all.sort_by_key(|network| (network.cidr.network(), network.cidr.prefix()));
        let mut ranges = BTreeMap::<IpAddr, ClusterNetwork>::new();
        for network in all {
            // Prefixes are apart or one is inside the other, and the wider one came first.
            let last = ranges.last_key_value().map(|(_, last)| AddressRange::from(last.cidr));
            if !last.is_some_and(|last| last.contains(network.cidr.network())) {
                ranges.insert(network.cidr.network(), network);
            }
        }
        Self { ranges, addresses }
    }

    /// Why a Network that never gives out `reserved` can't have a subnet; nothing where the cluster is not in its way.
    /// `free` is what it could have instead.
    pub fn conflict(
        &self,
        subnet: IpNetwork,
        reserved: &[AddressRange],
        free: impl FnOnce() -> Option<IpNetwork>,
    ) -> Option<ClusterConflict> {
        let wanted = AddressRange::from(subnet);
        let before = self.ranges.range(..=wanted.last()).next_back().map(|(_, network)| network);
        if let Some(network) = before.filter(|network| AddressRange::from(network.cidr).overlaps(&wanted)) {
            let (cidr, what) = (network.cidr, network.what.clone());
            return Some(ClusterConflict::Range { subnet, cidr, what, free: free() });
        }
        let mut inside = self.addresses.range(wanted.first()..=wanted.last());
        let (&address, network) =
            inside.find(|(address, _)| !reserved.iter().any(|range| range.contains(**address)))?;
        let what = network.what.clone();
        Some(ClusterConflict::Address { subnet, address, what, free: free() })
    }

    /// What is in the way of subnets that are to be carved.
    pub fn taken<'a>(&'a self, reserved: &'a [AddressRange]) -> impl Iterator<Item = IpNetwork> + 'a {
        let given_out = |address: &IpAddr| !reserved.iter().any(|range| range.contains(*address));
        let addresses = self.addresses.iter().filter(move |(address, _)| given_out(address));
        self.ranges.values().chain(addresses.map(|(_, network)| network)).map(|network| network.cidr)
    }

    /// A network of the cluster's that leaves nothing of this one.
    pub fn around(&self, cidr: IpNetwork) -> Option<&ClusterNetwork> {
        let wanted = AddressRange::from(cidr);
        let (_, network) = self.ranges.range(..=wanted.first()).next_back()?;
        AddressRange::from(network.cidr).contains(wanted.last()).then_some(network)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::fixture::prefix;

    fn cluster() -> ClusterNetworks {
        let network = |cidr: &str, what: &str| ClusterNetwork { cidr: prefix(cidr), what: what.to_owned() };
        ClusterNetworks::new([
            network("10.244.1.0/24", "the pod network of node n1"),
            network("10.244.0.0/16", "given by --cluster-cidr"),
            network("10.96.0.0/16", "the Service network"),
            network("192.0.2.10/32", "an address of node n1"),
            network("192.0.2.11/32", "an address of node n2"),
            network("fd00:10::/48", "the pod network of node n1"),
        ])
    }

    #[rstest]
    #[case::apart("10.64.0.0/24", &[], None)]
    #[case::just_before("10.95.255.0/24", &[], None)]
    #[case::just_after("10.97.0.0/24", &[], None)]
    #[case::inside("10.244.1.128/25", &[], Some("overlaps 10.244.0.0/16, given by --cluster-cidr"))]
    #[case::around("10.0.0.0/8", &[], Some("overlaps 10.244.0.0/16"))]
    #[case::of_services("10.96.7.0/24", &[], Some("the Service network"))]
    #[case::six("fd00:10:0:7::/64", &[], Some("the pod network of node n1"))]
    #[case::node("192.0.2.0/24", &[], Some("holds 192.0.2.10, an address of node n1: add it to spec.reserved"))]
    #[case::one_is_reserved("192.0.2.0/24", &["192.0.2.10"], Some("192.0.2.11, an address of node n2"))]
    #[case::all_are_reserved("192.0.2.0/24", &["192.0.2.1-192.0.2.20"], None)]
    #[case::a_range_stays("10.96.0.0/24", &["10.96.0.0/24"], Some("the Service network"))]
    fn a_subnet_stays_clear_of_the_cluster(
        #[case] subnet: &str,
        #[case] reserved: &[&str],
        #[case] why: Option<&str>,
    ) {
        let reserved: Vec<AddressRange> = reserved.iter().map(|range| range.parse().unwrap()).collect();
        let conflict = cluster().conflict(prefix(subnet), &reserved, || Some(prefix("10.64.8.0/24")));
        match (conflict.map(|conflict| conflict.to_string()), why) {
            (None, None) => {}
            (Some(message), Some(why)) => {
                assert!(message.contains(why) && message.contains("(10.64.8.0/24 is free)"), "{message}");
            }
            (message, why) => panic!("{message:?} instead of {why:?}"),
        }
    }

    #[test]
    fn what_is_carved_leaves_out_all_of_it() {
        let reserved = ["192.0.2.10".parse().unwrap()];
        let cluster = cluster();
        let taken: Vec<String> = cluster.taken(&reserved).map(|cidr| cidr.to_string()).collect();
        assert_eq!(taken, ["10.96.0.0/16", "10.244.0.0/16", "fd00:10::/48", "192.0.2.11/32"]);
        assert!(cluster.around(prefix("10.244.3.0/24")).is_some());
        assert!(cluster.around(prefix("10.0.0.0/8")).is_none());
    }
}
