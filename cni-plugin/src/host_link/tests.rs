use std::fs;
use std::path::Path;
use std::time::Instant;

use knap_protocol::{CniCode, HostLink, HostLinkKind};
use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::failure::Failure;
use crate::fixture::{as_root_in_namespaces, at_once, key};
use crate::netlink::{Link, LinkChange};

struct Node {
    folder: TempDir,
    links: HostLinks,
    netlink: Netlink,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Ledger::open(folder.path()).unwrap();
        let links = HostLinks::new(folder.path());
        Self { links, folder, netlink: Netlink::open().unwrap() }
    }

    fn link(&mut self, name: &str) -> Option<Link> {
        self.netlink.link(&name.parse().unwrap()).unwrap()
    }

    /// A veth `up0` with these addresses, whose other end is `far0`.
    fn uplink(&mut self, addresses: &[&str]) -> Link {
        self.netlink.create_veth("up0", "far0", [0x02, 0, 0, 0, 0, 1]).unwrap();
        self.address("up0", addresses);
        self.link("up0").unwrap()
    }

    fn address(&mut self, link: &str, addresses: &[&str]) {
        let index = self.link(link).unwrap().index;
        for address in addresses {
            self.netlink.add_address(index, address.parse().unwrap()).unwrap();
        }
    }

    /// Nothing of any host link is left in the state folder.
    fn is_clean(&self) -> bool {
        let empty =
            |name| fs::read_dir(self.folder.path().join(name)).is_ok_and(|mut files| files.next().is_none());
        empty("links") && empty("locks")
    }
}

fn bridge(owner: &str) -> HostLink {
    HostLink {
        kind: HostLinkKind::Bridge,
        name: "kn1f2e".parse().unwrap(),
        owner: owner.to_owned(),
        mtu: Some(1400),
        uplink: None,
    }
}

fn with_uplink(uplink: &str) -> HostLink {
    HostLink { uplink: Some(uplink.parse().unwrap()), ..bridge("u1") }
}

#[test]
fn a_bridge_is_made_marked_and_removed_with_its_last_user() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        let (one, two) = (key("c1", "net1"), key("c2", "net1"));
        node.links.ensure(&bridge("u1"), &one).unwrap();
        let made = node.link("kn1f2e").unwrap();
        assert_eq!((made.kind.as_deref(), made.alias.as_deref()), (Some("bridge"), Some("knap:u1")));
        assert!(made.up && made.mtu == 1400, "{made:?}");

        node.links.ensure(&bridge("u1"), &two).unwrap();
        assert_eq!(node.link("kn1f2e").unwrap().index, made.index);
        node.links.release(&bridge("u1"), &one).unwrap();
        node.links.release(&bridge("u1"), &one).unwrap();
        assert!(node.link("kn1f2e").is_some());
        node.links.release(&bridge("u1"), &two).unwrap();
        assert_eq!(node.link("kn1f2e"), None);
        assert!(node.is_clean());
        node.links.release(&bridge("u1"), &two).unwrap();
        assert!(node.is_clean());
    });
}

#[test]
fn an_existing_bridge_of_ours_gets_the_shape_that_is_wanted() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        node.links.ensure(&bridge("u1"), &key("c1", "net1")).unwrap();
        let larger = HostLink { mtu: Some(9000), ..bridge("u1") };
        node.links.ensure(&larger, &key("c2", "net1")).unwrap();
        assert_eq!(node.link("kn1f2e").unwrap().mtu, 9000);
        let any = HostLink { mtu: None, ..bridge("u1") };
        node.links.ensure(&any, &key("c3", "net1")).unwrap();
        assert_eq!(node.link("kn1f2e").unwrap().mtu, 9000);
    });
}

#[test]
fn ports_do_not_change_the_bridges_address() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        node.links.ensure(&bridge("u1"), &key("c1", "net1")).unwrap();
        let before = node.link("kn1f2e").unwrap();
        node.netlink.create_veth("low0", "low1", [0x02, 0, 0, 0, 0, 1]).unwrap();
        let port = node.link("low0").unwrap();
        let join = LinkChange { master: Some(before.index), up: true, ..LinkChange::default() };
        node.netlink.change(port.index, &join).unwrap();
        assert_eq!(node.link("kn1f2e").unwrap().address, before.address);
        node.netlink.delete(port.index).unwrap();
        assert_eq!(node.link("kn1f2e").unwrap().address, before.address);
    });
}

#[test]
fn links_of_others_are_refused_and_left_alone() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        let user = key("c1", "net1");
        node.netlink.create_bridge(&"kn1f2e".parse().unwrap(), [0x02, 0, 0, 0, 0, 9]).unwrap();
        let theirs = node.link("kn1f2e").unwrap();
        for (alias, said) in [
            (None, "without a mark of knap"),
            (Some("uplink to the rack"), "uplink to the rack"),
            (Some("knap:u2"), "UID u2"),
        ] {
            let change = LinkChange { alias: alias.map(str::to_owned), ..LinkChange::default() };
            node.netlink.change(theirs.index, &change).unwrap();
            let before = node.link("kn1f2e");
            let error = node.links.ensure(&bridge("u1"), &user).unwrap_err().to_string();
            assert!(error.contains("kn1f2e") && error.contains(said), "{error}");
            node.links.release(&bridge("u1"), &user).unwrap();
            assert_eq!(node.link("kn1f2e"), before);
            assert!(node.is_clean());
        }
    });
}

#[test]
fn a_link_of_ours_that_is_no_bridge_is_refused() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        node.netlink.create_veth("kn1f2e", "peer", [0x02, 0, 0, 0, 0, 1]).unwrap();
        let index = node.link("kn1f2e").unwrap().index;
        let alias = LinkChange { alias: Some("knap:u1".to_owned()), ..LinkChange::default() };
        node.netlink.change(index, &alias).unwrap();
        let error = node.links.ensure(&bridge("u1"), &key("c1", "net1")).unwrap_err().to_string();
        assert!(error.contains("a veth link"), "{error}");
    });
}

#[test]
fn an_uplink_becomes_a_port_and_outlives_the_bridge() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        let user = key("c1", "net1");
        let missing = node.links.ensure(&with_uplink("up0"), &user).unwrap_err();
        assert!(matches!(missing, HostLinkError::NoUplink { .. }), "{missing}");
        assert!(missing.to_string().contains("up0"), "{missing}");
        assert_eq!(node.link("kn1f2e"), None);
        assert!(node.is_clean());

        node.netlink.create_veth("up0", "far0", [0x02, 0, 0, 0, 0, 1]).unwrap();
        for user in [&user, &key("c2", "net1")] {
            node.links.ensure(&with_uplink("up0"), user).unwrap();
        }
        let bridge_index = node.link("kn1f2e").unwrap().index;
        assert_eq!(node.link("up0").unwrap().master, Some(bridge_index));

        let other =
            HostLink { name: "kn2222".parse().unwrap(), owner: "u2".to_owned(), ..with_uplink("up0") };
        let taken = node.links.ensure(&other, &user).unwrap_err().to_string();
        assert!(taken.contains("up0 is already a port of kn1f2e"), "{taken}");
        assert_eq!(node.link("kn2222"), None);

        for user in [&user, &key("c2", "net1")] {
            node.links.release(&with_uplink("up0"), user).unwrap();
        }
        assert_eq!(node.link("up0").unwrap().master, None);
        assert!(node.is_clean());
    });
}

#[rstest]
#[case::of_ipv4(&["192.0.2.7"], "192.0.2.7")]
#[case::of_ipv6(&["2001:db8::7"], "2001:db8::7")]
#[case::of_the_site(&["fd00::7"], "fd00::7")]
#[case::beside_others(&["169.254.7.7", "fe80::7", "fd00::7"], "fd00::7")]
fn what_has_an_address_does_not_become_a_port(#[case] addresses: &[&str], #[case] said: &str) {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        let before = node.uplink(addresses);
        let refused = node.links.ensure(&with_uplink("up0"), &key("c1", "net1")).unwrap_err();
        let failure = Failure::from(refused);
        assert_eq!(failure.code, CniCode::INVALID_CONFIG);
        assert!(failure.to_string().contains(&format!("uplink up0 has address {said},")), "{failure:?}");
        assert_eq!(node.link("up0"), Some(before));
        assert_eq!(node.link("kn1f2e"), None);
        assert!(node.is_clean());

        // Nor does it once there is the bridge, which others use.
        node.links.ensure(&bridge("u1"), &key("c2", "net1")).unwrap();
        node.links.ensure(&with_uplink("up0"), &key("c1", "net1")).unwrap_err();
        assert_eq!(node.link("up0").unwrap().master, None);
        assert!(node.link("kn1f2e").is_some());
    });
}

#[test]
fn link_local_addresses_and_those_of_others_are_in_nobodys_way() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        node.uplink(&["169.254.7.7", "fe80::7"]);
        node.address("far0", &["192.0.2.7", "fd00::7"]);
        node.links.ensure(&with_uplink("up0"), &key("c1", "net1")).unwrap();
        let master = Some(node.link("kn1f2e").unwrap().index);
        assert_eq!(node.link("up0").unwrap().master, master);

        // A port that got one later was the administrator's wish; the pods that come must not suffer from it.
        node.address("up0", &["192.0.2.8"]);
        node.links.ensure(&with_uplink("up0"), &key("c2", "net1")).unwrap();
        assert_eq!(node.link("up0").unwrap().master, master);
    });
}

#[test]
fn addresses_are_found_among_thousands() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        node.uplink(&[]);
        let many: Vec<String> =
            (0..2000).map(|number| format!("10.1.{}.{}", number / 250, number % 250 + 1)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        node.address("far0", &many);
        let index = node.link("up0").unwrap().index;
        assert_eq!(node.netlink.address(index).unwrap(), None);
        node.address("up0", &["fd00::7"]);
        assert_eq!(node.netlink.address(index).unwrap(), Some("fd00::7".parse().unwrap()));
    });
}

#[test]
fn many_at_once_make_one_bridge_and_leave_none() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        let links = &node.links;
        at_once(200, |number| {
            let user = key(&format!("c{number}"), "net1");
            links.ensure(&bridge("u1"), &user).unwrap();
            assert!(Netlink::open().unwrap().link(&"kn1f2e".parse().unwrap()).unwrap().is_some());
            links.release(&bridge("u1"), &user).unwrap();
        });
        assert_eq!(node.link("kn1f2e"), None);
        assert!(node.is_clean());
    });
}

#[test]
fn a_maker_that_died_before_the_mark_is_made_good() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        let user = key("c1", "net1");
        let half_made = |node: &mut Node| {
            let users = Users::new(&node.links.links(), &bridge("u1").name, "u1").unwrap();
            ledger::make_folder(&node.links.links()).unwrap();
            users.add(&user).unwrap();
            let mark = node.links.mark(&users).unwrap();
            node.netlink.create_bridge(&users.name, mark.address).unwrap();
        };
        half_made(&mut node);
        node.links.ensure(&bridge("u1"), &user).unwrap();
        assert_eq!(node.link("kn1f2e").unwrap().alias.as_deref(), Some("knap:u1"));
        node.links.release(&bridge("u1"), &user).unwrap();
        assert!(node.is_clean());

        half_made(&mut node);
        node.links.release(&bridge("u1"), &user).unwrap();
        assert_eq!(node.link("kn1f2e"), None);
        assert!(node.is_clean());
    });
}

#[test]
fn a_sweep_drops_users_without_an_entry() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        let ledger = Ledger::open(node.folder.path()).unwrap();
        let (kept, lost) = (key("c1", "net1"), key("c2", "net@2"));
        let entry = ledger::entry_for_tests(&kept);
        ledger.lock(&kept, Instant::now()).unwrap().write(&entry, ledger::Durability::Cached).unwrap();
        for user in [&kept, &lost] {
            node.links.ensure(&bridge("u1"), user).unwrap();
        }
        assert!(node.links.sweep(&ledger).is_empty());
        let users = node.folder.path().join("links/kn1f2e@u1");
        assert_eq!(ledger::names(&users).unwrap(), ["c1@net1"]);

        assert!(node.links.release_all(&kept).is_empty());
        assert_eq!(node.link("kn1f2e"), None);

        // Died after it dropped the last user, before it removed the link.
        node.links.ensure(&bridge("u1"), &kept).unwrap();
        fs::remove_file(users.join("c1@net1")).unwrap();
        assert!(node.links.sweep(&ledger).is_empty());
        assert_eq!(node.link("kn1f2e"), None);
        assert!(!users.exists());
    });
}

#[test]
fn a_sweep_keeps_users_whose_entry_was_put_aside() {
    as_root_in_namespaces(|| {
        let mut node = Node::new();
        let ledger = Ledger::open(node.folder.path()).unwrap();
        let user = key("c1", "net1");
        node.links.ensure(&bridge("u1"), &user).unwrap();
        fs::write(node.folder.path().join("attachments/c1@net1.json"), "{").unwrap();
        ledger.lock(&user, Instant::now()).unwrap().read().unwrap_err();
        assert!(node.links.sweep(&ledger).is_empty());
        assert!(node.link("kn1f2e").is_some(), "its pod may run");
        for file in ledger.corrupt().unwrap() {
            file.remove().unwrap();
        }
        assert!(node.links.sweep(&ledger).is_empty());
        assert_eq!(node.link("kn1f2e"), None);
    });
}

#[test]
fn what_can_not_be_made_is_refused_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let links = HostLinks::new(folder.path());
    let user = key("c1", "net1");
    let vxlan = HostLink { kind: HostLinkKind::Unknown("vxlan".to_owned()), ..bridge("u1") };
    let error = links.ensure(&vxlan, &user).unwrap_err().to_string();
    assert!(error.contains("kn1f2e") && error.contains("vxlan") && error.contains("upgrade"), "{error}");
    let error = links.ensure(&bridge("../../etc"), &user).unwrap_err().to_string();
    assert!(error.contains("../../etc"), "{error}");
    links.release(&bridge("../../etc"), &user).unwrap();
    assert!(fs::read_dir(Path::new(folder.path())).unwrap().next().is_none());
}
