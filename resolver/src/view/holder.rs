//! The hash by which a holder is found: label of its leases, key of the index, start of the search for a slot.

use std::fmt;

use knap_protocol::{AttachmentKey, NetworkName, NodeName};

/// A 64-bit hash of (node, containerID, ifname). It finds candidates; the attempt in the lease decides.
///
/// It is written into labels, so it must come out the same in every version: FNV-1a, which is fixed by its
/// definition, where the standard library's hashers may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderHash(u64);

impl HolderHash {
    /// Of an attachment.
    pub fn of(node: &NodeName, key: &AttachmentKey) -> Self {
        Self::of_parts(node.as_str(), key.container_id.as_str(), key.ifname.as_str())
    }

    /// Of a holder as a lease records it.
    pub fn of_holder(holder: &knap_api::Holder) -> Self {
        Self::of_parts(&holder.node, &holder.container_id, &holder.ifname)
    }

    fn of_parts(node: &str, container_id: &str, ifname: &str) -> Self {
        Self(fnv1a(&[node, container_id, ifname]))
    }

    /// Key of the label that leases of this holder carry.
    pub fn label(self) -> String {
        format!("{}{self}", knap_api::HOLDER_LABEL_PREFIX)
    }

    /// Where the search for a slot begins: the same attachment asks for the same slot, on every replica.
    pub fn first_candidate(self, network: &NetworkName) -> u32 {
        first_candidate(self.0, network)
    }
}

/// Where the search goes on after a slot that was somebody else's: the same on every replica, and another for each search.
pub(crate) fn next_candidate(candidate: u32) -> u32 {
    // A full-period generator (Knuth): it comes by every number.
    candidate.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)
}

impl fmt::Display for HolderHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// Where the search for a slot begins that is to be found again by a hash.
pub(crate) fn first_candidate(hash: u64, network: &NetworkName) -> u32 {
    let mixed = hash ^ fnv1a(&[network.namespace(), network.name()]);
    // The high half of a product by the golden ratio depends on every bit.
    u32::try_from(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or_default()
}

/// A 64-bit hash of an attempt, to tell one from another without keeping it.
pub(crate) fn attempt_hash(attempt: &str) -> u64 {
    fnv1a(&[attempt])
}

/// FNV-1a over the parts, each ended by a byte that no part holds.
pub(crate) fn fnv1a(parts: &[&str]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        let node: NodeName = "n1".parse().unwrap();
        let key = AttachmentKey { container_id: "c1".parse().unwrap(), ifname: "net1".parse().unwrap() };
        // The reference values of FNV-1a 64: the empty input, and "a" less our terminator.
        assert_eq!(fnv1a(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(&["a"]), (0xaf63_dc4c_8601_ec8c_u64 ^ 0xff).wrapping_mul(0x0000_0100_0000_01b3));
        assert_eq!(
            HolderHash::of(&node, &key).label(),
            format!("knap.github.com/h-{}", HolderHash::of(&node, &key))
        );
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(fnv1a(&["ab", "c"]), fnv1a(&["a", "bc"]));
    }

    #[test]
    fn first_candidates_spread() {
        let node: NodeName = "n1".parse().unwrap();
        let network: NetworkName = "shop/blue".parse().unwrap();
        let starts: std::collections::BTreeSet<u32> = (0..1000)
            .map(|n| AttachmentKey {
                container_id: format!("c{n}").parse().unwrap(),
                ifname: "net1".parse().unwrap(),
            })
            .map(|key| HolderHash::of(&node, &key).first_candidate(&network) % 254)
            .collect();
        assert!(starts.len() > 230, "{} of 254", starts.len());
    }
}
