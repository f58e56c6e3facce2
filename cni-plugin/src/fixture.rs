//! What tests need of the kernel: namespaces of their own, which end with the test.

mod node;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use knap_protocol::AttachmentKey;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

pub(crate) use node::Node;

/// Runs a test that needs root in fresh network and mount namespaces. Where it is not root the test says so and is
/// skipped; with `KNAP_REQUIRE_ROOT=1` it fails instead.
pub(crate) fn as_root_in_namespaces(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        let required = std::env::var_os("KNAP_REQUIRE_ROOT").is_some_and(|value| value == "1");
        assert!(!required, "this test needs root, and KNAP_REQUIRE_ROOT=1 says that it must run");
        eprintln!("skipped: needs root");
        return;
    }
    in_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        // Mounts must not reach the machine.
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        test();
    });
}

/// Makes a network namespace and mounts it over a new file, as runtimes do; runs `inside` in it.
pub(crate) fn named_namespace(path: &Path, inside: impl FnOnce() + Send) {
    File::create(path).unwrap();
    in_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        bind(Path::new("/proc/thread-self/ns/net"), path);
        inside();
    });
}

/// Mounts a file or folder over another.
pub(crate) fn bind(what: &Path, over: &Path) {
    mount(Some(what), over, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// A file system in memory of that many bytes.
pub(crate) fn small_disk(over: &Path, bytes: usize) {
    mount(Some("tmpfs"), over, Some("tmpfs"), MsFlags::empty(), Some(format!("size={bytes}").as_str()))
        .unwrap();
}

/// Runs `work` on several threads at once, all of them in the network namespace of the caller.
pub(crate) fn at_once(threads: usize, work: impl Fn(usize) + Sync) {
    let namespace = File::open("/proc/thread-self/ns/net").unwrap();
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..threads {
            let (namespace, work, done) = (&namespace, &work, done.clone());
            scope.spawn(move || {
                if nix::unistd::geteuid().is_root() {
                    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                }
                work(number);
                done.send(()).unwrap();
            });
        }
    });
    drop(done);
    assert_eq!(results.iter().count(), threads);
}

/// An attachment's key.
pub(crate) fn key(container_id: &str, ifname: &str) -> AttachmentKey {
    AttachmentKey { container_id: container_id.parse().unwrap(), ifname: ifname.parse().unwrap() }
}

fn in_thread(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        if let Err(panic) = scope.spawn(work).join() {
            std::panic::resume_unwind(panic);
        }
    });
}
