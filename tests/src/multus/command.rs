//! ADD and DEL.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::ApiServer;
use super::attachment::Attachment;
use super::cache::Cache;
use super::selection::Selection;
use super::status;

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const RESOURCE: &str = "k8s.v1.cni.cncf.io/resourceName";

/// The environment variables of the call.
pub type Environment = BTreeMap<String, String>;

/// What is read of Multus' configuration.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default = "any_version")]
    cni_version: String,
    kubeconfig: PathBuf,
    #[serde(default = "cache_folder")]
    cni_dir: PathBuf,
    #[serde(default)]
    namespace_isolation: bool,
    /// The default network comes first.
    delegates: Vec<Value>,
    #[serde(default)]
    runtime_config: Map<String, Value>,
}

fn any_version() -> String {
    "0.3.1".to_owned()
}

fn cache_folder() -> PathBuf {
    "/var/lib/cni/multus".into()
}

/// Runs one call of a runtime; what is to be printed.
pub fn run(environment: &Environment, stdin: &str) -> anyhow::Result<Option<Value>> {
    let variable = |name: &str| environment.get(name).map_or("", String::as_str);
    let command = variable("CNI_COMMAND");
    if command == "VERSION" {
        return Ok(Some(json!({ "cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"] })));
    }
    let config: Config = serde_json::from_str(stdin).context("Multus' configuration")?;
    let cache = Cache::of(&config.cni_dir, variable("CNI_CONTAINERID"));
    match command {
        "ADD" => add(&config, environment, &cache).map(Some),
        "DEL" => del(environment, &cache).map(|()| None),
        "CHECK" => Ok(None),
        other => bail!("unknown CNI_COMMAND: {other}"),
    }
}

fn add(config: &Config, environment: &Environment, cache: &Cache) -> anyhow::Result<Value> {
    let pod = Pod::of(environment.get("CNI_ARGS").map_or("", String::as_str));
    let passed = passed(environment);
    let api = ApiServer::of(&config.kubeconfig)?;
    let object = api.pod(&pod.namespace, &pod.name)?;
    let mut attachments = vec![default_network(config, environment)?];
    let asked = object["metadata"]["annotations"][NETWORKS].as_str().unwrap_or_default();
    for selection in Selection::all(asked, &pod.namespace)? {
        if config.namespace_isolation && selection.namespace != pod.namespace {
            bail!(
                "namespace isolation enabled, annotation violates permission, pod is in namespace {}",
                pod.namespace
            );
        }
        attachments.push(secondary(&api, &selection, environment, &pod)?);
    }
    // Written before anything is made, so that DEL finds all of it.
    cache.write(&attachments)?;
    let mut results = Vec::new();
    for (number, attachment) in attachments.iter().enumerate() {
        match attachment.add(&passed) {
            Ok(result) => results.push(result),
            Err(error) => {
                let undone =
                    attachments.iter().take(number).rev().all(|earlier| earlier.del(&passed).is_ok());
                if undone {
                    cache.forget();
                }
                return Err(error);
            }
        }
    }
    let entries = attachments.iter().zip(&results).filter_map(|(attachment, result)| {
        let default = attachment.definition.is_empty();
        let name = if default { attachment.config["name"].as_str()? } else { &attachment.definition };
        status::of(name, &attachment.interface, default, result)
    });
    api.write_status(&pod.namespace, &pod.name, &entries.collect::<Vec<_>>())?;
    let mut result = results.into_iter().next().context("the default network's result")?;
    result["cniVersion"] = json!(config.cni_version);
    Ok(result)
}

/// Goes on past errors; keeps the cache while anything may remain.
fn del(environment: &Environment, cache: &Cache) -> anyhow::Result<()> {
    let passed = passed(environment);
    let attachments = cache.read()?;
    let failed: Vec<String> = attachments
        .iter()
        .rev()
        .filter_map(|attachment| attachment.del(&passed).err())
        .map(|error| format!("{error:#}"))
        .collect();
    if !failed.is_empty() {
        bail!("{}", failed.join(" / "));
    }
    cache.forget();
    Ok(())
}

fn default_network(config: &Config, environment: &Environment) -> anyhow::Result<Attachment> {
    Ok(Attachment {
        definition: String::new(),
        interface: environment.get("CNI_IFNAME").context("CNI_IFNAME")?.clone(),
        config: config.delegates.first().context("no delegates")?.clone(),
        cni_args: environment.get("CNI_ARGS").cloned().unwrap_or_default(),
        runtime_config: config.runtime_config.clone(),
    })
}

fn secondary(
    api: &ApiServer,
    selection: &Selection,
    environment: &Environment,
    pod: &Pod,
) -> anyhow::Result<Attachment> {
    let definition = format!("{}/{}", selection.namespace, selection.name);
    let object = api.definition(&selection.namespace, &selection.name)?;
    let text = object["spec"]["config"].as_str().with_context(|| format!("{definition} has no config"))?;
    let mut config: Value =
        serde_json::from_str(text).with_context(|| format!("the config of {definition}"))?;
    if config["name"].as_str().is_none_or(str::is_empty) {
        config["name"] = json!(selection.name);
    }
    // Here a kubelet has no devices to give: a pod that needs one is never started.
    if let Some(resource) = object["metadata"]["annotations"][RESOURCE].as_str() {
        bail!("{definition} needs a device of {resource}, and this stand-in knows none");
    }
    if let Some(args) = &selection.cni_args {
        config["args"]["cni"] = args.clone();
    }
    let mut runtime_config = selection.runtime_config(&config, None);
    if config["capabilities"]["CNIDeviceInfoFile"].as_bool() == Some(true) {
        let file = format!("/var/run/k8s.cni.cncf.io/devinfo/cni/{}-{}", pod.uid, selection.interface);
        runtime_config.insert("CNIDeviceInfoFile".to_owned(), Value::from(file));
    }
    let container = environment.get("CNI_CONTAINERID").map_or("", String::as_str);
    // Multus makes its own arguments, and its thin plugin appends them to the caller's.
    let own = format!(
        "IgnoreUnknown=true;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID={}",
        pod.namespace, pod.name, pod.uid
    );
    Ok(Attachment {
        definition,
        interface: selection.interface.clone(),
        config,
        cni_args: format!("{own};{own}"),
        runtime_config,
    })
}

/// What the plugins get of the environment: what is fixed for the pod.
fn passed(environment: &Environment) -> Vec<(String, String)> {
    let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_PATH"];
    names
        .iter()
        .map(|name| ((*name).to_owned(), environment.get(*name).cloned().unwrap_or_default()))
        .collect()
}

/// Who the pod is, by CNI_ARGS.
struct Pod {
    namespace: String,
    name: String,
    uid: String,
}

impl Pod {
    fn of(arguments: &str) -> Self {
        let pairs = arguments.split(';').filter_map(|pair| pair.split_once('='));
        let known: BTreeMap<&str, &str> = pairs.collect();
        let value = |key: &str| known.get(key).copied().unwrap_or_default().to_owned();
        Self { namespace: value("K8S_POD_NAMESPACE"), name: value("K8S_POD_NAME"), uid: value("K8S_POD_UID") }
    }
}
