//! Which of two overlapping subnets has to go (design: the one rule for everything scarce).

use ipnetwork::IpNetwork;

use crate::AddressRange;
use crate::needs::CLUSTER_SCOPE;

/// Whether subnets of two scopes have to stay clear of each other. What is unique in the cluster is so among every segment's
/// too: nothing keeps them from being on one wire.
pub fn scopes_meet(one: &str, other: &str) -> bool {
    one == other || [one, other].contains(&CLUSTER_SCOPE)
}

/// A subnet's Reservation, as far as the decision needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetClaim {
    /// The Reservation's name.
    pub name: String,
    /// The UID of the Network that owns it. What a Network has does not keep it from having something larger or smaller.
    pub owner: String,
    /// The subnet.
    pub cidr: IpNetwork,
    /// Within what subnets must not overlap.
    pub scope: String,
    /// Whether hosts route it. All of these share one routing table, whatever their scope.
    pub routed: bool,
    /// Whether it was looked at before and found to be the first.
    pub verified: bool,
    /// Its resourceVersion as it was created; means nothing once verified.
    pub order: u64,
}

impl SubnetClaim {
    /// Whether one of the two has to go.
    fn conflicts_with(&self, other: &Self) -> bool {
        let meet = scopes_meet(&self.scope, &other.scope) || (self.routed && other.routed);
        meet && self.owner != other.owner && AddressRange::from(self.cidr).overlaps(&other.cidr.into())
    }

    /// Verified ones come first, then by resourceVersion; never by a timestamp, for clocks differ.
    const fn rank(&self) -> (bool, u64) {
        if self.verified { (false, 0) } else { (true, self.order) }
    }
}

/// The earliest of the claims that `mine` has to give way to; none means that `mine` may be verified.
///
/// `all` must come from one consistent list that began after `mine` was created. `mine` itself may be among them. A
/// claim that is verified already gives way to nobody: it is served.
pub fn first_conflict<'a>(mine: &SubnetClaim, all: &'a [SubnetClaim]) -> Option<&'a SubnetClaim> {
    all.iter()
        .filter(|other| other.name != mine.name && other.rank() < mine.rank() && mine.conflicts_with(other))
        // Of several that are served, every look names the same.
        .min_by_key(|other| (other.rank(), &other.name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(name: &str, cidr: &str, scope: &str, order: u64) -> SubnetClaim {
        SubnetClaim {
            name: name.to_owned(),
            owner: format!("uid-{name}"),
            cidr: cidr.parse().unwrap(),
            scope: scope.to_owned(),
            routed: false,
            verified: false,
            order,
        }
    }

    #[test]
    fn the_lower_resource_version_wins() {
        let all = [claim("a", "10.0.0.0/16", "cluster", 7), claim("b", "10.0.1.0/24", "cluster", 9)];
        assert_eq!(first_conflict(&all[0], &all), None);
        assert_eq!(first_conflict(&all[1], &all).map(|claim| claim.name.as_str()), Some("a"));
    }

    #[test]
    fn a_verified_claim_wins_whatever_its_version_is_now() {
        let mut all = [claim("a", "10.0.0.0/16", "cluster", 7), claim("b", "10.0.1.0/24", "cluster", 9)];
        all[1].verified = true;
        assert_eq!(first_conflict(&all[0], &all), Some(&all[1]));
        assert_eq!(first_conflict(&all[1], &all), None);
    }

    #[test]
    fn of_several_that_are_served_the_same_is_named_in_any_order() {
        let mut all = [claim("a", "10.0.0.0/24", "cluster", 7), claim("b", "10.0.1.0/24", "cluster", 9)];
        all.iter_mut().for_each(|claim| claim.verified = true);
        let mine = claim("c", "10.0.0.0/16", "cluster", 11);
        let named = first_conflict(&mine, &all).cloned();
        all.reverse();
        assert_eq!(first_conflict(&mine, &all).cloned(), named);
    }

    #[test]
    fn a_network_is_not_in_its_own_way() {
        let mut all = [claim("a", "10.0.0.0/24", "cluster", 7), claim("b", "10.0.0.0/23", "cluster", 9)];
        all[0].verified = true;
        assert_eq!(first_conflict(&all[1], &all), Some(&all[0]));
        all[1].owner = all[0].owner.clone();
        assert_eq!(first_conflict(&all[1], &all), None);
    }

    #[test]
    fn what_is_unique_in_the_cluster_is_so_on_every_segment() {
        let all = [claim("a", "10.0.0.0/16", "cluster", 7), claim("b", "10.0.1.0/24", "fabric-x", 9)];
        assert_eq!(first_conflict(&all[1], &all), Some(&all[0]));
        let all = [claim("a", "10.0.0.0/16", "network-1f2e", 7), claim("b", "10.0.1.0/24", "cluster", 9)];
        assert_eq!(first_conflict(&all[1], &all), Some(&all[0]));
        assert!(!scopes_meet("fabric-x", "fabric-y"));
    }

    #[test]
    fn scopes_are_apart_but_the_hosts_routing_table_is_one() {
        let mut all = [claim("a", "10.0.0.0/16", "vlan-x-1", 7), claim("b", "10.0.1.0/24", "vlan-x-2", 9)];
        assert_eq!(first_conflict(&all[1], &all), None);
        all[0].routed = true;
        assert_eq!(first_conflict(&all[1], &all), None);
        all[1].routed = true;
        assert_eq!(first_conflict(&all[1], &all), Some(&all[0]));
        all[0].routed = false;
        assert_eq!(first_conflict(&all[1], &all), None);
        all[0].routed = true;
        all[1].cidr = "fd00::/64".parse().unwrap();
        assert_eq!(first_conflict(&all[1], &all), None);
    }

    proptest! {
        /// Whoever looks, in whatever order: no two that overlap both stay, and the earliest of all stays.
        #[test]
        fn survivors_never_overlap(prefixes in prop::collection::vec((0u8..16, 24u8..29, 0usize..3), 1..12)) {
            let mut all: Vec<SubnetClaim> = prefixes
                .iter()
                .enumerate()
                .map(|(order, (host, length, scope))| {
                    let scope = ["cluster", "vlan-x-1", "vlan-x-2"][*scope];
                    claim(&order.to_string(), &format!("10.0.0.{}/{length}", host * 16), scope, order as u64)
                })
                .collect();
            // A claim is verified, or deletes itself, in turn: later lists show what came of the earlier ones.
            for order in (0..all.len() as u64).rev().chain(0..all.len() as u64) {
                let Some(index) = all.iter().position(|claim| claim.order == order) else { continue };
                if first_conflict(&all[index], &all).is_some() {
                    all.remove(index);
                } else {
                    all[index].verified = true;
                }
            }
            prop_assert!(all.iter().any(|claim| claim.order == 0));
            for (index, claim) in all.iter().enumerate() {
                prop_assert!(all.iter().skip(index + 1).all(|other| !claim.conflicts_with(other)));
            }
        }
    }
}
