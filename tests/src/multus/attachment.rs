//! One network of a pod: a configuration, and what it is run with.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// As it is kept for DEL.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Attachment {
    /// `namespace/name` of the definition; empty for the default network.
    pub(super) definition: String,
    pub(super) interface: String,
    /// One plugin's, or a list's.
    pub(super) config: Value,
    pub(super) cni_args: String,
    pub(super) runtime_config: Map<String, Value>,
}

impl Attachment {
    /// Runs ADD of every plugin; the last result. What fails is undone.
    pub(super) fn add(&self, environment: &[(String, String)]) -> anyhow::Result<Value> {
        let mut result = Value::Null;
        for plugin in self.plugins() {
            match self.exec("ADD", &plugin, &result, environment) {
                Ok(answer) => result = answer,
                Err(error) => {
                    let _ = self.del(environment);
                    return Err(error);
                }
            }
        }
        Ok(result)
    }

    /// Runs DEL of every plugin, the last first.
    pub(super) fn del(&self, environment: &[(String, String)]) -> anyhow::Result<()> {
        let plugins = self.plugins();
        let failed = plugins
            .iter()
            .rev()
            .filter_map(|plugin| self.exec("DEL", plugin, &Value::Null, environment).err());
        let failed: Vec<String> = failed.map(|error| format!("{error:#}")).collect();
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
    }

    fn plugins(&self) -> Vec<Value> {
        match self.config["plugins"].as_array() {
            Some(plugins) => plugins.clone(),
            None => vec![self.config.clone()],
        }
    }

    fn exec(
        &self,
        command: &str,
        plugin: &Value,
        previous: &Value,
        environment: &[(String, String)],
    ) -> anyhow::Result<Value> {
        let kind = plugin["type"].as_str().context("a plugin without a type")?;
        let mut config = plugin.clone();
        config["name"] = self.config["name"].clone();
        config["cniVersion"] = self.config.get("cniVersion").cloned().unwrap_or_else(|| json!("0.3.1"));
        if !previous.is_null() {
            config["prevResult"] = previous.clone();
        }
        let declared: Map<String, Value> = self
            .runtime_config
            .iter()
            .filter(|(name, _)| plugin["capabilities"][name.as_str()].as_bool() == Some(true))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !declared.is_empty() {
            config["runtimeConfig"] = Value::Object(declared);
        }
        config.as_object_mut().context("a plugin's configuration")?.remove("capabilities");
        let folders = environment.iter().find(|(name, _)| name == "CNI_PATH").map_or("", |(_, value)| value);
        let mut child = Command::new(find(kind, folders)?)
            .envs(environment.iter().cloned())
            .envs([("CNI_COMMAND", command), ("CNI_IFNAME", &self.interface), ("CNI_ARGS", &self.cni_args)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {kind}"))?;
        child.stdin.take().context("its standard input")?.write_all(config.to_string().as_bytes())?;
        let output = child.wait_with_output()?;
        let answer = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
        if output.status.success() {
            return Ok(answer);
        }
        // Multus flattens a plugin's error into text.
        let words = answer["msg"]
            .as_str()
            .map_or_else(|| String::from_utf8_lossy(&output.stdout).into_owned(), str::to_owned);
        Err(anyhow!(
            "[{}:{}]: error {command}: {words} {}",
            self.definition,
            kind,
            answer["details"].as_str().unwrap_or_default()
        ))
    }
}

fn find(kind: &str, folders: &str) -> anyhow::Result<PathBuf> {
    let found = std::env::split_paths(folders)
        .map(|folder: PathBuf| folder.join(Path::new(kind)))
        .find(|path| path.is_file());
    found.with_context(|| format!("failed to find plugin {kind:?} in path [{folders}]"))
}
