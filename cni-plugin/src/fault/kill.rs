//! Dies at each point of the ledger and of host links, and sees that a later DEL and reap leave nothing.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use knap_protocol::{AttachmentKey, HostLink, HostLinkKind, PodRef};
use nix::libc;

use super::POINTS;
use crate::fixture::{as_root_in_namespaces, key};
use crate::host_link::HostLinks;
use crate::ledger::{Durability, Entry, Ledger, entry_for_tests};
use crate::netlink::Netlink;

const CHILD: &str = "KNAP_TEST_STATE_DIR";

fn wanted() -> (AttachmentKey, Entry, HostLink) {
    let key = key("c1", "net1");
    let pod = PodRef { namespace: "shop".into(), name: "web-0".into(), uid: Some("uid-1".into()) };
    let link = HostLink {
        kind: HostLinkKind::Bridge,
        name: "kn1f2e".parse().unwrap(),
        owner: "u1".into(),
        mtu: None,
        uplink: None,
    };
    let entry = Entry { pod: Some(pod), host_links: vec![link.clone()], ..entry_for_tests(&key) };
    (key, entry, link)
}

fn attach(state_dir: &Path) {
    let (key, entry, link) = wanted();
    let ledger = Ledger::open(state_dir).unwrap();
    let mut attachment = ledger.lock(&key, Instant::now() + Duration::from_secs(9)).unwrap();
    attachment.write(&Entry { host_links: Vec::new(), ..entry.clone() }, Durability::Cached).unwrap();
    attachment.write(&entry, Durability::Synced).unwrap();
    HostLinks::new(state_dir).ensure(&link, &key).unwrap();
}

fn detach(state_dir: &Path) {
    let (key, _, _) = wanted();
    let ledger = Ledger::open(state_dir).unwrap();
    let mut attachment = ledger.lock(&key, Instant::now() + Duration::from_secs(9)).unwrap();
    if let Some(entry) = attachment.read().unwrap() {
        for link in &entry.host_links {
            HostLinks::new(state_dir).release(link, &key).unwrap();
        }
        attachment.to_tombstone(&entry).unwrap();
    }
    for tombstone in ledger.tombstones().unwrap() {
        tombstone.unwrap().remove().unwrap();
    }
}

/// What the killed process does; in any other run, nothing.
#[test]
fn child() {
    if let Some(state_dir) = std::env::var_os(CHILD) {
        attach(Path::new(&state_dir));
        detach(Path::new(&state_dir));
    }
}

fn run_child(state_dir: &Path, point: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fault::kill::child", "--test-threads=1", "--quiet"])
        .env(CHILD, state_dir)
        .env("KNAP_FAULT_POINT", point)
        .status()
        .unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path.display().to_string()),
        }
    }
    found
}

#[test]
fn whatever_moment_it_dies_at_nothing_stays() {
    as_root_in_namespaces(|| {
        let ours = POINTS.iter().filter(|name| name.starts_with("ledger.") || name.starts_with("host-link."));
        for point in ours {
            let folder = tempfile::tempdir().unwrap();
            let state_dir = folder.path();
            let status = run_child(state_dir, point);
            assert_eq!(status.signal(), Some(libc::SIGKILL), "{point} was not reached");

            detach(state_dir);
            let ledger = Ledger::open(state_dir).unwrap();
            let links = HostLinks::new(state_dir).sweep(&ledger);
            let rest = ledger.sweep();
            assert!(links.is_empty() && rest.is_empty(), "{point}: {links:?} {rest:?}");
            assert_eq!(files(state_dir), Vec::<String>::new(), "{point}");
            let left = fs::read_dir(state_dir.join("links")).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{point}");
            let link = Netlink::open().unwrap().link(&"kn1f2e".parse().unwrap()).unwrap();
            assert_eq!(link, None, "{point}");
        }
        assert!(run_child(tempfile::tempdir().unwrap().path(), "none").success());
    });
}
