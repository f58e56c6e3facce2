//! How the plugin knows its own links.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use knap_protocol::{BootId, InterfaceName};

use crate::ledger::fnv1a;
use crate::netlink::{Link, MacBytes};

/// The two marks of a link of ours. The alias says it to everybody, but the kernel takes an alias only for a link
/// that exists already; the hardware address is there from the first moment, and tells a link whose maker died
/// before it set the alias.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) alias: String,
    pub(super) address: MacBytes,
}

impl Mark {
    /// The marks of link `name` of Network `owner`, in this boot and this network namespace.
    ///
    /// The address is a hash, and so the same whenever the link is made anew: neighbours keep their ARP entries.
    /// Nothing that two nodes share enters it alone, since their links may be ports of one segment.
    pub(super) fn new(name: &InterfaceName, owner: &str, boot: &BootId, state_dir: &Path) -> Self {
        let namespace = std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |file| file.ino());
        let seed = format!("{boot} {namespace} {} {name} {owner}", state_dir.display());
        let [first, second, third, fourth, fifth, sixth, ..] = fnv1a(seed.as_bytes()).to_be_bytes();
        // Locally administered and unicast, and never 0a:…, which are the attachments'.
        let address = [(first & 0xf0) | 0x02, second, third, fourth, fifth, sixth];
        Self { alias: format!("knap:{owner}"), address }
    }

    /// Whether a link bears one of the marks.
    pub(super) fn is_on(&self, link: &Link) -> bool {
        match link.alias.as_deref() {
            Some(alias) => alias == self.alias,
            None => link.address == self.address,
        }
    }
}

/// What a link is that bears no mark of ours, in words.
pub(super) fn describe(link: &Link) -> String {
    let kind = link.kind.as_deref().unwrap_or("physical");
    match link.alias.as_deref() {
        Some(alias) => match alias.strip_prefix("knap:") {
            Some(owner) => format!("a {kind} link of the network with UID {owner}"),
            None => format!("a {kind} link with alias {alias:?}"),
        },
        None => format!("a {kind} link without a mark of knap"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(name: &str, owner: &str, boot: &str, state_dir: &str) -> Mark {
        Mark::new(&name.parse().unwrap(), owner, &boot.parse().unwrap(), Path::new(state_dir))
    }

    #[test]
    fn addresses_are_stable_local_and_differ_between_nodes() {
        let one = mark("kn1f2e", "u1", "b1", "/a");
        assert_eq!(one.address, mark("kn1f2e", "u1", "b1", "/a").address);
        for other in [
            mark("kn1f2f", "u1", "b1", "/a"),
            mark("kn1f2e", "u2", "b1", "/a"),
            mark("kn1f2e", "u1", "b2", "/a"),
            mark("kn1f2e", "u1", "b1", "/b"),
        ] {
            assert_ne!(one.address, other.address);
            assert_eq!(other.address[0] & 0x0f, 0x02);
        }
    }

    #[test]
    fn the_address_counts_only_until_there_is_an_alias() {
        let mark = mark("kn1f2e", "u1", "b1", "/a");
        let unfinished = Link { address: mark.address.to_vec(), ..Link::default() };
        assert!(mark.is_on(&unfinished));
        assert!(mark.is_on(&Link { alias: Some("knap:u1".to_owned()), ..Link::default() }));
        assert!(!mark.is_on(&Link { alias: Some("knap:u2".to_owned()), ..unfinished }));
        assert!(!mark.is_on(&Link::default()));
    }
}
