//! Runs `knap` as a runtime or Multus does.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::{Host, Sandbox, binaries};

/// The versions that the suite runs over.
pub const ALL_VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The configuration of a thin NetworkAttachmentDefinition, as Multus hands it over.
pub fn thin_config(network: &str, version: &str) -> Value {
    json!({
        "cniVersion": version,
        "name": network.replace('/', "."),
        "type": "knap",
        "network": network,
        "allowPersistentIPs": true,
        "capabilities": {
            "mac": true, "ips": true, "deviceID": true, "infinibandGUID": true, "bandwidth": true,
            "portMappings": true, "CNIDeviceInfoFile": true,
        },
    })
}

/// One run of the plugin, to be filled in.
#[derive(Debug, Clone)]
pub struct Call {
    env: BTreeMap<String, String>,
    stdin: Vec<u8>,
}

impl Call {
    /// A command on an attachment of `net1`, with the variables that it needs.
    pub fn new(command: &str, container: &str, config: &Value) -> Self {
        let call = Self { env: BTreeMap::new(), stdin: config.to_string().into_bytes() };
        call.env("CNI_COMMAND", command).env("CNI_CONTAINERID", container).env("CNI_IFNAME", "net1")
    }

    /// ADD of `net1` in a sandbox.
    pub fn add(container: &str, sandbox: &Sandbox, config: &Value) -> Self {
        Self::new("ADD", container, config).netns(sandbox.path())
    }

    /// DEL of `net1` in a sandbox.
    pub fn del(container: &str, sandbox: &Sandbox, config: &Value) -> Self {
        Self::new("DEL", container, config).netns(sandbox.path())
    }

    /// CHECK of `net1` in a sandbox, with the result of its ADD.
    pub fn check(container: &str, sandbox: &Sandbox, config: &Value, result: &Value) -> Self {
        let mut config = config.clone();
        config["prevResult"] = result.clone();
        Self::new("CHECK", container, &config).netns(sandbox.path())
    }

    /// GC that keeps these (container, interface) pairs.
    pub fn gc(config: &Value, keep: &[(&str, &str)]) -> Self {
        let mut config = config.clone();
        let keep =
            keep.iter().map(|(container, ifname)| json!({ "containerID": container, "ifname": ifname }));
        config["cni.dev/valid-attachments"] = keep.collect();
        Self::without_attachment("GC", &config)
    }

    /// GC, STATUS or VERSION: no variable that names an attachment.
    pub fn without_attachment(command: &str, config: &Value) -> Self {
        Self { env: BTreeMap::new(), stdin: config.to_string().into_bytes() }.env("CNI_COMMAND", command)
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Unsets a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// CNI_NETNS.
    pub fn netns(self, path: &Path) -> Self {
        let path = path.to_str().expect("a path in UTF-8").to_owned();
        self.env("CNI_NETNS", &path)
    }

    /// CNI_IFNAME.
    pub fn ifname(self, name: &str) -> Self {
        self.env("CNI_IFNAME", name)
    }

    /// CNI_ARGS.
    pub fn args(self, args: &str) -> Self {
        self.env("CNI_ARGS", args)
    }

    /// CNI_ARGS of a pod, in the form that Multus gives them.
    pub fn pod(self, namespace: &str, name: &str, uid: &str) -> Self {
        self.args(&format!(
            "IgnoreUnknown=true;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID=;K8S_POD_UID={uid}"
        ))
    }

    /// Dies when it passes this fault point.
    pub fn fault(self, point: &str) -> Self {
        self.env("KNAP_FAULT_POINT", point)
    }

    /// Dies when it passes this fault point for the `turn`-th time; the first is 1.
    pub fn fault_at(self, point: &str, turn: u32) -> Self {
        if turn == 1 { self.fault(point) } else { self.fault(&format!("{point}:{turn}")) }
    }

    /// Any standard input.
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// Runs it on a host, to its end.
    pub fn run(&self, host: &Host) -> Answer {
        self.run_by(host, &binaries::knap())
    }

    /// The same by another file: the installed plugin.
    pub fn run_by(&self, host: &Host, program: &Path) -> Answer {
        self.run_as(host.plugin_command(program))
    }

    /// The same by a command that has all but the call's own variables and input.
    pub(crate) fn run_as(&self, command: std::process::Command) -> Answer {
        let mut command = assert_cmd::Command::from_std(command);
        command.envs(&self.env).write_stdin(self.stdin.clone());
        let output = command.output().expect("knap runs");
        Answer {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same with a standard error that nobody reads any more.
    pub fn run_unheard(&self, host: &Host) -> Answer {
        let mut command = host.plugin_command(&binaries::knap());
        let (heard, unheard) = std::io::pipe().expect("a pipe");
        drop(heard);
        command.envs(&self.env).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(unheard);
        let mut child = command.spawn().expect("knap starts");
        // It may have died before it read all; its status will tell.
        let _ = child.stdin.take().expect("its standard input").write_all(&self.stdin);
        let output = child.wait_with_output().expect("knap ends");
        Answer {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::new(),
        }
    }

    /// The command on a host, its input included, not yet run.
    pub fn command(&self, host: &Host) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::from_std(host.plugin_command(&binaries::knap()));
        command.envs(&self.env).write_stdin(self.stdin.clone());
        command
    }

    /// Starts it on a host and goes on. Its standard error is dropped, its output piped.
    pub fn spawn(&self, host: &Host) -> std::process::Child {
        let mut command = host.plugin_command(&binaries::knap());
        command.envs(&self.env);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("knap starts");
        // It may have died before it read all; its status will tell.
        let _ = child.stdin.take().expect("its standard input").write_all(&self.stdin);
        child
    }
}

/// What a run of the plugin came to.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Absent where a signal ended it.
    pub status: Option<i32>,
    /// Results and errors.
    pub stdout: String,
    /// Its log.
    pub stderr: String,
}

/// A CNI error document.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniError {
    /// The version that the error is written in.
    pub cni_version: String,
    /// Its code.
    pub code: u32,
    /// What failed, which object, what to do.
    pub msg: String,
    /// More of it.
    #[serde(default)]
    pub details: String,
}

impl Answer {
    /// The result of an ADD that must succeed.
    pub fn result(&self) -> Value {
        assert_eq!(self.status, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no result: {error}: {self:?}"))
    }

    /// Success without any output: DEL, CHECK, GC and STATUS.
    pub fn quiet(&self) {
        assert_eq!((self.status, self.stdout.as_str()), (Some(0), ""), "{self:?}");
    }

    /// The error of a run that must fail.
    pub fn error(&self) -> CniError {
        assert!(self.status.is_some_and(|status| status != 0), "{self:?}");
        let error: CniError = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no error document on stdout: {error}: {self:?}"));
        assert!(!error.msg.is_empty(), "{self:?}");
        error
    }

    /// The error of a run that must fail with this code and with all of these words in its message.
    pub fn fails(&self, code: u32, words: &[&str]) -> CniError {
        let error = self.error();
        assert_eq!(error.code, code, "{error:?}");
        for word in words {
            assert!(error.msg.contains(word), "{word:?} is not in the message: {error:?}");
        }
        error
    }

    /// A run that a fault point ended.
    pub fn killed(&self) {
        assert_eq!(self.status, None, "it should have been killed: {self:?}");
    }

    /// Addresses of an ADD's result, in order.
    pub fn addresses(&self) -> Vec<String> {
        let result = self.result();
        let ips = result["ips"].as_array().into_iter().flatten();
        ips.filter_map(|ip| ip["address"].as_str()).map(str::to_owned).collect()
    }
}

impl Host {
    /// A program in the host's network namespace with the environment that a runtime gives its plugins, and no more.
    pub(crate) fn plugin_command(&self, program: &Path) -> std::process::Command {
        let mut command = self.machine().command(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("CNI_PATH", self.cni_path())
            .env("KNAP_CONFIG", self.node_file());
        command.current_dir("/");
        command
    }

    /// Runs `knap reap`.
    pub fn reap(&self) -> Answer {
        self.subcommand(&["reap"])
    }

    /// Runs `knap` with arguments and without CNI_COMMAND.
    pub fn subcommand(&self, args: &[&str]) -> Answer {
        let output = self.plugin_command(&binaries::knap()).args(args).output().expect("knap runs");
        Answer {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The names of the plugin's fault points.
    pub fn fault_points(&self) -> Vec<String> {
        let answer = self.subcommand(&["--fault-points"]);
        assert_eq!(answer.status, Some(0), "knap has no fault points: build it with `{}`", binaries::BUILD);
        answer.stdout.split_whitespace().map(str::to_owned).collect()
    }

    /// CNI_PATH.
    pub(crate) fn cni_path(&self) -> String {
        let folders: Vec<PathBuf> = self.cni_folders();
        std::env::join_paths(folders).expect("CNI_PATH").into_string().expect("CNI_PATH in UTF-8")
    }
}
