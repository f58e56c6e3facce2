//! The programs among which the runtime looks for CNI plugins, and the versions that known plugins speak: asked once per
//! file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use knap_protocol::DelegatePlugin;
use serde::Deserialize;

use crate::agent::node::Node;
use crate::file_stamp::FileStamp;
use crate::host_root::HostRoot;
use crate::program::Program;

/// Programs that are asked their versions. Whatever else is in such a folder is not started: the kubelet and scripts that set
/// a node up are kept beside plugins too, and do their work whatever CNI_COMMAND says.
#[rustfmt::skip]
const KNOWN: [&str; 25] = [
    "bandwidth", "bridge", "dhcp", "dummy", "firewall", "host-device", "host-local", "ipvlan", "loopback", "macvlan", "portmap",
    "ptp", "sbr", "static", "tap", "tuning", "vlan", "vrf",
    "calico", "cilium-cni", "flannel", "ib-sriov", "ovs", "sriov", "whereabouts",
];
/// The resolver takes no more; then those that are known are told.
const MOST: usize = 512;
/// How long a plugin may take to say its versions.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many are asked at once.
const AT_ONCE: usize = 4;
/// One that did not end is asked again after this: perhaps the machine was busy.
const SECOND_TRY: Duration = Duration::from_secs(600);
/// By the specification, the version of the answer.
const CONFIG: &str = r#"{"cniVersion": "1.0.0"}"#;

/// What was answered, by path on the host.
#[derive(Debug, Default)]
pub(super) struct Delegates(BTreeMap<PathBuf, Known>);

#[derive(Debug, Clone)]
struct Known {
    stamp: FileStamp,
    versions: Vec<String>,
    /// Since boot; none where the answer stands.
    ask_again_at: Option<Duration>,
}

impl Delegates {
    /// All programs in the runtime's folder and the others that were named, sorted by name. All, since a class may name any
    /// of them, and can be served where its name is listed. Of two with one name, the first counts, as it does in CNI_PATH.
    pub(super) fn survey(&mut self, node: &Node) -> Vec<DelegatePlugin> {
        let root = node.paths.root();
        let folders = [std::slice::from_ref(&node.paths.bin_dir), &node.settings.delegate_dirs].concat();
        let now = node.clock.since_boot();
        let found: BTreeMap<PathBuf, FileStamp> =
            folders.iter().flat_map(|folder| programs(&root, folder)).collect();
        self.0.retain(|path, known| {
            found.get(path) == Some(&known.stamp) && known.ask_again_at.is_none_or(|at| at > now)
        });
        let is_known =
            |name: &str| KNOWN.contains(&name) || node.settings.delegates.iter().any(|it| it == name);
        let new: Vec<(&PathBuf, &FileStamp)> = found
            .iter()
            .filter(|(path, _)| name_of(path).is_some_and(is_known) && !self.0.contains_key(*path))
            .collect();
        for some in new.chunks(AT_ONCE) {
            self.0.extend(ask(node, &root, some, now));
        }
        let mut delegates: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for folder in &folders {
            for path in found.keys().filter(|path| path.parent() == Some(folder)) {
                if let Some(name) = name_of(path) {
                    let versions =
                        || self.0.get(path).map(|known| known.versions.clone()).unwrap_or_default();
                    delegates.entry(name.to_owned()).or_insert_with(versions);
                }
            }
        }
        let delegates =
            delegates.into_iter().map(|(kind, cni_versions)| DelegatePlugin { kind, cni_versions });
        let (known, others): (Vec<_>, Vec<_>) = delegates.partition(|plugin| is_known(&plugin.kind));
        let mut listed: Vec<DelegatePlugin> = known.into_iter().chain(others).take(MOST).collect();
        listed.sort_by(|one, other| one.kind.cmp(&other.kind));
        listed
    }
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name().and_then(OsStr::to_str)
}

/// Executable files in a folder of the host that a configuration's `type` could name, but for our own plugin and hidden ones.
fn programs(root: &HostRoot, folder: &Path) -> Vec<(PathBuf, FileStamp)> {
    let entries = fs::read_dir(root.folder(folder)).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let is_other = name.to_str().is_some_and(|name| {
                name != "knap" && !name.starts_with('.') && !name.contains(char::is_whitespace)
            });
            let path = folder.join(&name);
            let here = root.folder(&path);
            let found = fs::metadata(&here).ok().filter(fs::Metadata::is_file)?;
            let is_program = found.permissions().mode() & 0o111 != 0;
            let stamp = FileStamp::of(&here).ok()??;
            (is_other && is_program).then_some((path, stamp))
        })
        .collect()
}

fn ask(
    node: &Node,
    root: &HostRoot,
    programs: &[(&PathBuf, &FileStamp)],
    now: Duration,
) -> Vec<(PathBuf, Known)> {
    thread::scope(|scope| {
        let asked: Vec<_> = programs
            .iter()
            .map(|&(path, stamp)| (path, stamp, scope.spawn(move || versions(node, root, path))))
            .collect();
        let answers = asked.into_iter().map(|(path, stamp, thread)| {
            let versions = thread.join().ok().flatten();
            let ask_again_at = versions.is_none().then(|| now + SECOND_TRY);
            (path.clone(), Known { stamp: *stamp, versions: versions.unwrap_or_default(), ask_again_at })
        });
        answers.collect()
    })
}

/// The versions that a plugin knows; empty where it answers something else, none where it does not end.
fn versions(node: &Node, root: &HostRoot, path: &Path) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        supported_versions: Vec<String>,
    }
    let environment = [("CNI_COMMAND", OsStr::new("VERSION"))];
    let program =
        Program { root, path, arguments: &[], environment: &environment, stdin: CONFIG, patience: PATIENCE };
    match program.run(node.signals.stopping()) {
        Ok(said) => {
            let answer = serde_json::from_str::<Answer>(&said.stdout);
            Some(answer.map(|answer| answer.supported_versions).unwrap_or_default())
        }
        Err(error) => {
            tracing::warn!("{} does not say its CNI versions: {error}", path.display());
            None
        }
    }
}
