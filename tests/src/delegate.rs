//! The recording delegate: a fake CNI plugin that writes down each call, and answers as its script says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{ALL_VERSIONS, binaries};

/// What a recording delegate does at one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// What a delegate should: ADD answers prevResult with one interface more and the addresses of its ipam, VERSION
    /// lists the script's versions, all else succeeds quietly.
    Succeed,
    /// Prints this as its result.
    Result(Value),
    /// Prints this text, whatever it is, and ends with that status.
    Print(String, i32),
    /// Prints a CNI error of this code and message.
    Error(u32, String),
    /// Does not end while its test runs.
    Hang,
    /// Does not end, and neither does a child of it that holds its output open.
    HangWithChild,
    /// Succeeds, and leaves a child behind that has its descriptors, but for its output.
    LeaveChild,
    /// Succeeds after so many milliseconds.
    Slow(u64),
    /// Succeeds once this file exists.
    AwaitFile(PathBuf),
    /// Kills itself.
    Die,
    /// Writes without end, until nobody reads.
    Flood,
    /// Writes this to standard error, and succeeds.
    Complain(String),
    /// Runs the plugin `ipam.type` of its configuration, as real delegates do, and prints its result.
    DelegateIpam,
}

/// How one recording delegate behaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// What it answers to VERSION.
    pub versions: Vec<String>,
    /// Per CNI_COMMAND, what it does at the first call, the second, …; the last is repeated.
    #[serde(default)]
    pub on: BTreeMap<String, Vec<Action>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            versions: ALL_VERSIONS.iter().map(|version| (*version).to_owned()).collect(),
            on: BTreeMap::new(),
        }
    }
}

impl Script {
    /// One that knows just these versions.
    pub fn versions(versions: &[&str]) -> Self {
        Self { versions: versions.iter().map(|version| (*version).to_owned()).collect(), ..Self::default() }
    }

    /// Adds what to do at a command: the first call, the second, …; the last is repeated.
    pub fn on(mut self, command: &str, actions: &[Action]) -> Self {
        self.on.insert(command.to_owned(), actions.to_vec());
        self
    }
}

/// One call of a recording delegate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The name that it was run by.
    pub delegate: String,
    /// CNI_COMMAND.
    pub command: String,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// What it read; a string where that is not JSON.
    pub stdin: Value,
}

impl Recorded {
    /// An environment variable; empty where it is not set.
    pub fn env(&self, name: &str) -> &str {
        self.env.get(name).map_or("", String::as_str)
    }

    /// A text in its input, by JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.stdin.pointer(pointer).and_then(Value::as_str)
    }

    /// `ADD first`, for comparing an order of calls.
    pub fn step(&self) -> String {
        format!("{} {}", self.command, self.delegate)
    }
}

/// A folder for CNI_PATH, with the recording delegates in it.
#[derive(Debug)]
pub struct Delegates {
    folder: PathBuf,
    forgotten: AtomicUsize,
}

impl Delegates {
    /// Makes the folder.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("bin")).expect("a folder for delegates");
        Self { folder: folder.to_owned(), forgotten: AtomicUsize::new(0) }
    }

    /// What CNI_PATH holds.
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// Installs a recording delegate under a name, behaving well.
    pub fn install(&self, name: &str) {
        self.install_as(name, &Script::default());
    }

    /// Installs a recording delegate under a name, or gives the installed one another script.
    pub fn install_as(&self, name: &str, script: &Script) {
        let text = serde_json::to_string_pretty(script).expect("a script");
        fs::write(self.script(name), text).expect("a delegate's script");
        let wrapper = self.bin().join(name);
        if wrapper.exists() {
            return;
        }
        let program = binaries::recording_delegate();
        let text = format!("#!/bin/sh\nexec {} {} {name}\n", program.display(), self.folder.display());
        // Written elsewhere and renamed, so that nobody runs it while it is still open for writing.
        let draft = self.folder.join(format!("{name}.draft"));
        fs::write(&draft, text).expect("a delegate");
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("an executable delegate");
        fs::rename(&draft, wrapper).expect("a delegate in CNI_PATH");
    }

    /// Removes one.
    pub fn uninstall(&self, name: &str) {
        fs::remove_file(self.bin().join(name)).expect("the delegate to remove");
    }

    /// All calls so far, in order, VERSION left out: when that is asked is the plugin's own affair.
    pub fn calls(&self) -> Vec<Recorded> {
        let mut calls = self.all_calls();
        calls.retain(|call| call.command != "VERSION");
        calls
    }

    /// All calls so far, in order.
    pub fn all_calls(&self) -> Vec<Recorded> {
        let text = self.whole_lines();
        let lines = text.lines().skip(self.forgotten.load(Ordering::SeqCst));
        lines.map(|line| serde_json::from_str(line).expect("a whole line in the log of calls")).collect()
    }

    /// The calls as `ADD first`, in order.
    pub fn steps(&self) -> Vec<String> {
        self.calls().iter().map(Recorded::step).collect()
    }

    /// The only call that is `ADD first`, say.
    pub fn the(&self, step: &str) -> Recorded {
        let calls: Vec<Recorded> = self.calls().into_iter().filter(|call| call.step() == step).collect();
        assert_eq!(calls.len(), 1, "{step} among {:?}", self.steps());
        calls.into_iter().next().expect("one call")
    }

    /// Forgets the calls so far. The delegates themselves don't: a script's second action stays its second.
    pub fn forget(&self) {
        self.forgotten.store(self.whole_lines().lines().count(), Ordering::SeqCst);
    }

    /// The log but for what is just being written.
    fn whole_lines(&self) -> String {
        let mut log = fs::read(log_file(&self.folder)).unwrap_or_default();
        log.truncate(log.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        String::from_utf8(log).expect("a log of JSON")
    }

    fn script(&self, name: &str) -> PathBuf {
        script_file(&self.folder, name)
    }
}

/// Where the calls are written.
pub fn log_file(folder: &Path) -> PathBuf {
    folder.join("calls.jsonl")
}

/// Where a delegate finds its script.
pub fn script_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.script.json"))
}

/// What a delegate that does its work answers to ADD: prevResult, one interface, the addresses of its ipam.
pub fn plain_result(config: &Value, ifname: &str, netns: &str) -> Value {
    let version = config["cniVersion"].as_str().unwrap_or("0.3.1");
    let mut result = match &config["prevResult"] {
        Value::Object(previous) => Value::Object(previous.clone()),
        _ => json!({ "interfaces": [], "ips": [], "routes": [], "dns": {} }),
    };
    result["cniVersion"] = json!(version);
    let with_version = matches!(version, "0.3.1" | "0.4.0");
    let mac = config["runtimeConfig"]["mac"].as_str().unwrap_or("02:00:00:00:00:01");
    if config["prevResult"].is_null() {
        let interface = json!({ "name": ifname, "mac": mac, "sandbox": netns });
        result["interfaces"].as_array_mut().expect("interfaces").push(interface);
    }
    for address in config["ipam"]["addresses"].as_array().into_iter().flatten() {
        let mut ip = json!({ "address": address["address"], "interface": 0 });
        if !address["gateway"].is_null() {
            ip["gateway"] = address["gateway"].clone();
        }
        if with_version {
            let v6 = address["address"].as_str().is_some_and(|text| text.contains(':'));
            ip["version"] = json!(if v6 { "6" } else { "4" });
        }
        result["ips"].as_array_mut().expect("ips").push(ip);
    }
    result
}
