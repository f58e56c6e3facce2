//! Install, upgrade, rollback and uninstall of a stand-in plugin: a shell script that answers as a plugin does.

#![allow(clippy::unwrap_used, reason = "a test's fixtures may panic")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use clap::Parser;
use knap_installer::cli::Arguments;

struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A plugin whose text differs by `version`.
    fn plugin(&self, version: &str) -> PathBuf {
        self.script(
            &format!("knap-{version}"),
            &format!("echo 'knap {version}: a CNI plugin' >&2\n[ -z \"$CNI_COMMAND\" ] || echo '{{\"supportedVersions\": []}}'"),
        )
    }

    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let root = self.root.path().to_str().unwrap();
        let mut all: Vec<String> = vec!["knap-installer".into()];
        all.extend(arguments.iter().map(|a| (*a).to_owned()));
        for (flag, folder) in [("--bin-dir", "bin"), ("--config-dir", "conf"), ("--state-dir", "state")] {
            if !arguments.contains(&flag) {
                all.extend([flag.into(), format!("{root}/{folder}")]);
            }
        }
        knap_installer::run(&Arguments::try_parse_from(all).unwrap()).map_err(|error| format!("{error:#}"))
    }

    fn install(&self, plugin: &Path) -> Result<(), String> {
        self.install_with(plugin, &[])
    }

    /// With more arguments, of which those of the folders win over the usual ones.
    fn install_with(&self, plugin: &Path, more: &[&str]) -> Result<(), String> {
        let plugin = plugin.to_str().unwrap();
        let endpoint = "http://127.0.0.1:9464";
        let usual =
            ["install", "--plugin", plugin, "--node", "n1", "--endpoint", endpoint, "--token-file", "/t"];
        self.run(&[&usual, more].concat())
    }

    fn installed(&self) -> String {
        fs::read_to_string(self.path("bin/knap")).unwrap()
    }

    fn previous(&self) -> String {
        fs::read_to_string(self.path("bin/.knap.previous")).unwrap()
    }
}

#[test]
fn install_upgrade_rollback_uninstall() {
    let host = Host::new();
    host.install(&host.plugin("1")).unwrap();
    assert!(host.installed().contains("knap 1"));
    let node_file = fs::read_to_string(host.path("conf/node.json")).unwrap();
    assert!(node_file.contains("http://127.0.0.1:9464") && node_file.contains("\"n1\""), "{node_file}");
    assert_eq!(fs::metadata(host.path("conf/node.json")).unwrap().permissions().mode() & 0o777, 0o600);

    host.install(&host.plugin("2")).unwrap();
    assert!(host.installed().contains("knap 2"));
    host.run(&["rollback"]).unwrap();
    assert!(host.installed().contains("knap 1"));
    assert!(host.run(&["rollback"]).unwrap_err().contains("no previous version"));

    host.run(&["uninstall"]).unwrap();
    assert!(!host.path("bin/knap").exists() && !host.path("conf").exists() && !host.path("state").exists());
    assert_eq!(fs::read_dir(host.path("bin")).unwrap().count(), 0);
}

#[test]
fn a_changed_node_file_is_put_right() {
    let host = Host::new();
    host.install(&host.plugin("1")).unwrap();
    let right = fs::read(host.path("conf/node.json")).unwrap();
    fs::write(host.path("conf/node.json"), "{}").unwrap();
    host.install(&host.plugin("1")).unwrap();
    assert_eq!(fs::read(host.path("conf/node.json")).unwrap(), right);
}

#[test]
fn a_foreign_plugin_of_our_name_is_left_alone() {
    let host = Host::new();
    let foreign = host.script("bin/knap", "echo somebody else >&2");
    let before = fs::read(&foreign).unwrap();
    assert!(host.install(&host.plugin("1")).unwrap_err().contains("is not Knap's plugin"));
    assert!(host.run(&["uninstall", "--force"]).unwrap_err().contains("is not Knap's plugin"));
    assert_eq!(fs::read(&foreign).unwrap(), before);
}

#[test]
fn a_plugin_that_does_not_run_replaces_nothing() {
    let host = Host::new();
    host.install(&host.plugin("1")).unwrap();
    host.install(&host.plugin("2")).unwrap();
    let error = host.install(&host.script("broken", "exit 1")).unwrap_err();
    assert!(error.contains("does not run on this machine"), "{error}");
    assert!(host.installed().contains("knap 2") && host.previous().contains("knap 1"));
    let left: Vec<_> = fs::read_dir(host.path("bin")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "knap" || name == ".knap.previous"), "{left:?}");
}

#[test]
fn half_a_plugin_does_not_take_the_place_of_the_one_before() {
    let host = Host::new();
    let (before, plugin) = (host.plugin("1"), host.plugin("2"));
    host.install(&before).unwrap();
    host.install(&plugin).unwrap();
    let whole = fs::read(&before).unwrap();
    fs::write(host.path("bin/knap"), &whole[..whole.len() / 2]).unwrap();
    host.install(&plugin).unwrap();
    assert!(host.installed().contains("knap 2"));
    assert_eq!(host.previous().as_bytes(), whole);
}

#[test]
fn uninstall_waits_for_the_last_attachment() {
    let host = Host::new();
    host.install(&host.plugin("1")).unwrap();
    fs::create_dir_all(host.path("state/attachments")).unwrap();
    fs::write(host.path("state/attachments/c1@net1.json"), "{}").unwrap();
    assert!(host.run(&["uninstall"]).unwrap_err().contains("1 attachments are still in"));
    assert!(host.path("bin/knap").exists());
    host.run(&["uninstall", "--force"]).unwrap();
    assert!(!host.path("bin/knap").exists() && !host.path("state").exists());
}

/// In a pod, an absolute link of the host leads into the container.
#[test]
fn a_ledger_behind_a_link_of_the_hosts_is_looked_into_and_the_link_stays() {
    let host = Host::new();
    let root = ["--host-root", host.root.path().to_str().unwrap()];
    let folders = ["--bin-dir", "/bin", "--config-dir", "/conf", "--state-dir", "/state"];
    let uninstall = || host.run(&[&["uninstall"], &root[..], &folders].concat());
    let entry = host.path("data/knap/attachments/c1@net1.json");
    fs::create_dir_all(entry.parent().unwrap()).unwrap();
    fs::write(&entry, "{}").unwrap();
    symlink("/data/knap", host.path("state")).unwrap();
    assert!(uninstall().unwrap_err().contains("1 attachments are still in"));
    assert!(entry.exists() && host.path("state").is_symlink());
    fs::remove_file(&entry).unwrap();
    fs::write(host.path("data/knap/boot"), "b").unwrap();
    uninstall().unwrap();
    assert_eq!(fs::read_dir(host.path("data/knap")).unwrap().count(), 0);
    assert!(host.path("state").is_symlink());
}

#[test]
fn a_ledger_is_not_left_behind() {
    let host = Host::new();
    host.install(&host.plugin("1")).unwrap();
    let entry = host.path("state/attachments/c1@net1.json");
    fs::create_dir_all(entry.parent().unwrap()).unwrap();
    fs::write(&entry, "{}").unwrap();
    let before = fs::read(host.path("conf/node.json")).unwrap();
    let other = host.path("other");
    let elsewhere = ["--state-dir", other.to_str().unwrap()];
    let refused = host.install_with(&host.plugin("1"), &elsewhere).unwrap_err();
    for words in
        ["drain this node", &elsewhere.join(" ").replace("other", "state"), "/other", "1 attachments"]
    {
        assert!(refused.replace('=', " ").contains(words), "{words}: {refused}");
    }
    assert_eq!(fs::read(host.path("conf/node.json")).unwrap(), before);
    // Nor is it taken away by who names another.
    let refused = host.run(&[&["uninstall"], &elsewhere[..]].concat()).unwrap_err();
    assert!(refused.contains("1 attachments are still in") && host.path("bin/knap").exists(), "{refused}");
    fs::remove_file(&entry).unwrap();
    host.install_with(&host.plugin("1"), &elsewhere).unwrap();
    assert!(fs::read_to_string(host.path("conf/node.json")).unwrap().contains(elsewhere[1]));
    let left: Vec<_> = fs::read_dir(host.path("conf")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["node.json"]);
}

#[test]
fn the_same_ledger_by_another_path_is_no_other() {
    let host = Host::new();
    host.install(&host.plugin("1")).unwrap();
    fs::create_dir_all(host.path("state/attachments")).unwrap();
    fs::write(host.path("state/attachments/c1@net1.json"), "{}").unwrap();
    symlink(host.path("state"), host.path("link")).unwrap();
    let link = host.path("link");
    host.install_with(&host.plugin("1"), &["--state-dir", link.to_str().unwrap()]).unwrap();
    assert!(fs::read_to_string(host.path("conf/node.json")).unwrap().contains("/link"));
}
