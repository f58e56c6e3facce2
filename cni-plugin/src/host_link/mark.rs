//! How the plugin knows its own links.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use knap_protocol::{BootId, InterfaceName};

use crate::ledger::fnv1a;
use crate::netlink::{Link, MacBytes};
use crate::netns::OWN;

/// The two marks of a link of ours. The alias says it to everybody, but the kernel takes an alias only for a link
/// that exists already; the hardware address is there from the first moment, and tells a link whose maker died
/// before it set the alias.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) alias: String,
    pub(super) address: MacBytes,
}

impl Mark {
    /// The marks of link `name` of Network `owner` on the node that `node` tells from all others.
    ///
    /// The address is a hash, and so the same whenever the link is made anew: neighbours keep their ARP entries.
    /// Links of one Network on two nodes may be ports of one segment, hence the node in it.
    pub(super) fn new(name: &InterfaceName, owner: &str, node: &str) -> Self {
        let seed = format!("{node} {name} {owner}");
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

/// Tells this node's links from any other's for as long as they live: until the boot, the network namespace or the
/// state folder is another. Not by the folder's path, which differs between the host and a container that sees it.
pub(super) fn node(boot: &BootId, state_dir: &Path) -> io::Result<String> {
    let (namespace, folder) = (fs::metadata(OWN)?, fs::metadata(state_dir)?);
    Ok(format!("{boot} {} {}:{}", namespace.ino(), folder.dev(), folder.ino()))
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

    fn mark(name: &str, owner: &str, node: &str) -> Mark {
        Mark::new(&name.parse().unwrap(), owner, node)
    }

    #[test]
    fn addresses_are_stable_local_and_differ_between_nodes() {
        let one = mark("kn1f2e", "u1", "n1");
        assert_eq!(one.address, mark("kn1f2e", "u1", "n1").address);
        for other in [mark("kn1f2f", "u1", "n1"), mark("kn1f2e", "u2", "n1"), mark("kn1f2e", "u1", "n2")] {
            assert_ne!(one.address, other.address);
            assert_eq!(other.address[0] & 0x0f, 0x02);
        }
    }

    #[test]
    fn a_node_is_known_by_its_boot_and_its_folder_whatever_the_path() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let of = |boot: &str, folder: &Path| node(&boot.parse().unwrap(), folder).unwrap();
        assert_eq!(of("b1", one.path()), of("b1", &one.path().join(".")));
        assert_ne!(of("b1", one.path()), of("b2", one.path()));
        assert_ne!(of("b1", one.path()), of("b1", two.path()));
    }

    #[test]
    fn the_address_counts_only_until_there_is_an_alias() {
        let mark = mark("kn1f2e", "u1", "n1");
        let unfinished = Link { address: mark.address.to_vec(), ..Link::default() };
        assert!(mark.is_on(&unfinished));
        assert!(mark.is_on(&Link { alias: Some("knap:u1".to_owned()), ..Link::default() }));
        assert!(!mark.is_on(&Link { alias: Some("knap:u2".to_owned()), ..unfinished }));
        assert!(!mark.is_on(&Link::default()));
    }
}
