//! One machine of a test.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stale::fresh_folder;
use crate::{
    Call, Delegates, LedgerView, Resolver, Sandbox, binaries, eventually, eventually_is, require_root,
    thin_config,
};

/// The class that [`network`] names.
pub const CLASS: &str = "test";

/// A class of provider `cni` whose chain is these recording delegates; the first gets the lease's addresses.
pub fn recorded_class(delegates: &[&str]) -> String {
    let plugins: Vec<Value> = delegates
        .iter()
        .enumerate()
        .map(|(position, name)| match position {
            0 => json!({ "type": name, "ipam": { "type": "knap" }, "capabilities": { "mac": true } }),
            _ => json!({ "type": name }),
        })
        .collect();
    class(json!({ "provider": "cni", "parameters": { "plugins": plugins } }))
}

/// A class of provider `bridge`: host links, and the delegate `bridge`.
pub fn bridge_class() -> String {
    class(json!({ "provider": "bridge" }))
}

/// [`recorded_class`] whose Networks are carved from these prefixes instead, and may ask for parts of them: `(prefix, length
/// of a Network's part)`.
pub fn recorded_class_on(delegates: &[&str], subnets: &[(&str, u8)]) -> String {
    let mut class: Value = serde_json::from_str(&recorded_class(delegates)).expect("a class");
    class["spec"]["subnets"] =
        subnets.iter().map(|(cidr, length)| json!({ "cidr": cidr, "prefixLength": length })).collect();
    class.to_string()
}

/// The class [`CLASS`] of this spec; its Networks are carved from 10.64.0.0/16 as /24, and may ask for parts of
/// 10.99.0.0/16, where the spec has no subnets.
pub fn class(mut spec: Value) -> String {
    if spec["subnets"].is_null() {
        spec["subnets"] = json!([
            { "cidr": "10.64.0.0/16", "prefixLength": 24 },
            { "cidr": "10.99.0.0/16", "prefixLength": 24 },
        ]);
    }
    spec["allowRequestedSubnets"] = json!(true);
    // JSON is YAML too.
    json!({ "apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": { "name": CLASS }, "spec": spec })
        .to_string()
}

/// A Network `namespace/name` of [`CLASS`], with these members of its spec besides.
pub fn network(name: &str, more: &Value) -> String {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    let mut spec = json!({ "class": CLASS });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "knap.github.com/v1alpha1", "kind": "Network",
        "metadata": { "namespace": namespace, "name": name }, "spec": spec,
    })
    .to_string()
}

/// What a resolver's folder may grow to, in bytes. Of the memory it takes what is written to it.
const ROOM: usize = 1 << 30;

/// One machine: a network namespace with loopback, a node file, a ledger, a folder of delegates, a resolver. Dropping it
/// ends and removes all of it.
#[derive(Debug)]
pub struct Host {
    /// The resolver; it runs after [`Host::start`].
    pub resolver: Resolver,
    /// The recording delegates.
    pub delegates: Delegates,
    /// The plugin's stateDir.
    pub ledger: LedgerView,
    machine: Arc<Sandbox>,
    more_cni_folders: Vec<PathBuf>,
    _store: Option<MemoryDisk>,
    folder: TempDir,
}

impl Host {
    /// A machine whose resolver is not started. It will keep its store in memory: a disk that is slow to sync would have the
    /// plugin leave releases for later.
    pub fn new() -> Self {
        Self::on(Sandbox::new, Some(ROOM))
    }

    /// The same with the store on the disk, as a real one has it.
    pub fn on_disk() -> Self {
        Self::on(Sandbox::new, None)
    }

    /// A machine on the test's own loopback, whose resolvers are those of a cluster.
    pub fn in_cluster(access: &Value) -> Self {
        let host = Self::on(Sandbox::outermost, None);
        host.write_node_file(&json!({ "resolver": access }));
        host
    }

    fn on(machine: impl FnOnce(&Path, &str) -> Sandbox, room: Option<usize>) -> Self {
        require_root();
        let folder = fresh_folder();
        let path = folder.path();
        let machine = Arc::new(machine(&path.join("machine"), "host"));
        let store = room.map(|bytes| MemoryDisk::mount(&path.join("resolver"), bytes));
        let host = Self {
            resolver: Resolver::new(Arc::clone(&machine), &path.join("resolver")),
            delegates: Delegates::new(&path.join("cni")),
            ledger: LedgerView::new(&path.join("state")),
            machine,
            more_cni_folders: Vec::new(),
            _store: store,
            folder,
        };
        fs::write(host.boot_id_file(), "7a1c6f0e-0000-4000-8000-000000000001\n").expect("a boot ID");
        // Delegates run `knap` again, as their IPAM plugin.
        std::os::unix::fs::symlink(binaries::knap(), host.delegates.bin().join("knap"))
            .expect("knap in CNI_PATH");
        host.write_node_file(&json!({}));
        host
    }

    /// A machine whose resolver serves these manifests, with these recording delegates installed.
    pub fn start(manifests: &[String], delegates: &[&str]) -> Self {
        Self::new().serving(manifests, delegates)
    }

    /// Starts the resolver with these manifests and these recording delegates.
    pub fn serving(self, manifests: &[String], delegates: &[&str]) -> Self {
        for (number, manifest) in manifests.iter().enumerate() {
            self.resolver.write_manifest(&format!("{number:02}.yaml"), manifest);
        }
        for delegate in delegates {
            self.delegates.install(delegate);
        }
        self.resolver.start();
        self
    }

    /// A machine that serves `shop/blue` by the recording delegates `first`, `second` and `third`, in this order.
    pub fn recorded() -> Self {
        let delegates = ["first", "second", "third"];
        let host = Self::start(&[recorded_class(&delegates), network("shop/blue", &json!({}))], &delegates);
        host.resolver.wait_ready("shop/blue");
        host
    }

    /// The folder that holds everything of this machine.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its network namespace.
    pub fn machine(&self) -> &Sandbox {
        &self.machine
    }

    /// The same, for what outlives a borrow.
    pub(crate) fn shared_machine(&self) -> Arc<Sandbox> {
        Arc::clone(&self.machine)
    }

    /// A pod's network namespace.
    pub fn pod(&self, name: &str) -> Sandbox {
        Sandbox::new(&self.folder().join("netns"), name)
    }

    /// node.json; KNAP_CONFIG names it.
    pub fn node_file(&self) -> PathBuf {
        self.folder().join("node.json")
    }

    /// Writes node.json, with these members instead of the usual ones.
    pub fn write_node_file(&self, more: &Value) {
        let mut file = json!({
            "node": "n1",
            "resolver": { "endpoints": [self.resolver.endpoint()], "tokenFile": self.resolver.token_file() },
            "stateDir": self.ledger.folder(),
            "addTimeoutSeconds": 30,
            "log": { "level": "debug" },
            "bootIDFile": self.boot_id_file(),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            file[key] = value.clone();
        }
        fs::write(self.node_file(), file.to_string()).expect("node.json");
    }

    /// Points the plugin to another endpoint than the resolver's own.
    pub fn use_endpoint(&self, endpoint: &str) {
        let access = json!({ "endpoints": [endpoint], "tokenFile": self.resolver.token_file() });
        self.write_node_file(&json!({ "resolver": access }));
    }

    /// Gives the machine another boot ID, as a reboot does. Namespaces are the caller's to remove.
    pub fn reboot(&self, number: u32) {
        let boot_id = format!("7a1c6f0e-0000-4000-8000-{number:012}\n");
        fs::write(self.boot_id_file(), boot_id).expect("a boot ID");
    }

    /// Appends a folder to CNI_PATH.
    pub fn add_cni_folder(&mut self, folder: &Path) {
        self.more_cni_folders.push(folder.to_owned());
    }

    /// Mounts a disk of so many bytes at the ledger's folder.
    pub fn tiny_disk(&self, bytes: usize) -> MemoryDisk {
        MemoryDisk::mount(self.ledger.folder(), bytes)
    }

    /// Lets mounts in the folder of pods' namespaces be propagated, as systemd does with all of a host's.
    pub fn share_namespaces(&self) -> SharedFolder {
        SharedFolder::mount(&self.folder().join("netns"))
    }

    /// Hides what is mounted in the folder of pods' namespaces, as an agent sees it to which mounts are not propagated: plain
    /// files, in the very folder.
    pub fn hide_namespaces(&self) -> HiddenNamespaces {
        HiddenNamespaces::mount(&self.folder().join("netns"))
    }

    /// Mounts a disk of so many bytes at the runtime's folder of plugins, with what is in it.
    pub fn tiny_disk_for_plugins(&self, bytes: usize) -> MemoryDisk {
        let bin = self.delegates.bin();
        let before: Vec<_> = fs::read_dir(&bin).expect("the folder of plugins").flatten().collect();
        let content =
            before.iter().map(|entry| (entry.file_name(), fs::read(entry.path()).expect("a plugin")));
        let content: Vec<_> = content.collect();
        let disk = MemoryDisk::mount(&bin, bytes);
        for (name, bytes) in content {
            fs::write(bin.join(&name), bytes).expect("a plugin on the tiny disk");
            fs::set_permissions(bin.join(&name), fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        disk
    }

    /// Sends a few of the releases that wait, as every later call does. This one, a DEL of what was never there, does nothing
    /// else.
    pub fn send_releases(&self, network: &str) {
        Call::new("DEL", "nobody", &thin_config(network, "1.0.0")).run(self).quiet();
    }

    /// What a busy resolver did not confirm in its time is sent first; all else must have gone by itself.
    ///
    /// # Panics
    /// If anything of an attachment to `network` is left: in the ledger, in the kernel, in the resolver's store.
    pub fn assert_nothing_left(&self, network: &str) {
        eventually("releases alone wait, and are sent", || {
            let traces = self.ledger.traces();
            if traces.is_empty() || !traces.iter().all(|trace| trace.starts_with("releasing/")) {
                return Some(());
            }
            self.send_releases(network);
            None
        });
        assert_eq!(self.ledger.traces(), Vec::<String>::new(), "the ledger");
        // The kernel takes a namespace's links away a moment after the namespace is gone, and then their other ends.
        eventually_is("the host's links", &Vec::<String>::new(), || self.machine.interfaces());
        assert_eq!(self.resolver.leases(network), Vec::<String>::new(), "leases of {network}");
    }

    pub(crate) fn cni_folders(&self) -> Vec<PathBuf> {
        [&[self.delegates.bin()], self.more_cni_folders.as_slice()].concat()
    }

    pub(crate) fn boot_id_file(&self) -> PathBuf {
        self.folder().join("boot_id")
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// A disk in memory; unmounted when dropped.
#[derive(Debug)]
pub struct MemoryDisk {
    folder: PathBuf,
}

impl MemoryDisk {
    fn mount(folder: &Path, bytes: usize) -> Self {
        fs::create_dir_all(folder).expect("a mount point");
        let options = format!("size={bytes},mode=0700");
        mount(Some("knap-test"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .unwrap_or_else(|error| panic!("tmpfs on {}: {error}", folder.display()));
        Self { folder: folder.to_owned() }
    }

    /// Fills it up, but for so many bytes.
    pub fn fill(&self, leave: usize) {
        let path = self.folder.join("locks-filler");
        let mut filler = fs::File::create(&path).expect("a filler");
        // The kernel takes what fits, and then nothing.
        while filler.write_all(&[b'x'; 4096]).is_ok() {}
        let size = filler.metadata().expect("the filler's size").len();
        filler.set_len(size.saturating_sub(leave as u64)).expect("a smaller filler");
    }

    /// Lets nobody write to it, or somebody again.
    pub fn read_only(&self, read_only: bool) {
        let flags = if read_only { MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY } else { MsFlags::MS_REMOUNT };
        // Not while somebody has a file open for writing.
        eventually("it can be remounted", || {
            let mounted = mount(None::<&str>, &self.folder, None::<&str>, flags, None::<&str>);
            (mounted != Err(Errno::EBUSY)).then(|| mounted.expect("a remount"))
        });
    }

    /// Makes room again.
    pub fn empty(&self) {
        let _ = fs::remove_file(self.folder.join("locks-filler"));
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
    }
}

/// A folder whose mounts come to be in other mount namespaces too; unmounted when dropped.
#[derive(Debug)]
pub struct SharedFolder {
    folder: PathBuf,
}

impl SharedFolder {
    fn mount(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder to share");
        let none = None::<&str>;
        mount(Some(folder), folder, none, MsFlags::MS_BIND, none).expect("a bind mount");
        let shared = Self { folder: folder.to_owned() };
        mount(none, folder, none, MsFlags::MS_SHARED, none).expect("a shared mount");
        shared
    }
}

impl Drop for SharedFolder {
    fn drop(&mut self) {
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
    }
}

/// A folder over which it is mounted itself, without what is mounted in it; unmounted when dropped.
#[derive(Debug)]
pub struct HiddenNamespaces {
    folder: PathBuf,
}

impl HiddenNamespaces {
    fn mount(folder: &Path) -> Self {
        mount(Some(folder), folder, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("a bind mount");
        Self { folder: folder.to_owned() }
    }
}

impl Drop for HiddenNamespaces {
    fn drop(&mut self) {
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
    }
}
