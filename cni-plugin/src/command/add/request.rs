//! What the caller wants, as the ledger and the resolver are told it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use knap_protocol::{AttachRequest, Attempt, BootId, JsonObject, LedgerState, NetworkName, PodRef};
use serde_json::Value;

use crate::cni_args::CniArgs;
use crate::config::Config;
use crate::environment::Call;
use crate::failure::Failure;
use crate::ledger::Entry;
use crate::netns::NetnsIdentity;

/// One caller's wish, checked.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    config: &'a Config,
    call: &'a Call,
    network: NetworkName,
    pub(super) pod: Option<PodRef>,
    args: JsonObject,
    /// As given.
    runtime_config: JsonObject,
    /// With the requests of CNI_ARGS folded in.
    folded: JsonObject,
    device_id: Option<String>,
    pci_bus_id: Option<String>,
}

impl<'a> Wish<'a> {
    /// Checks all of the configuration that an ADD uses.
    pub(super) fn new(config: &'a Config, call: &'a Call, cni_args: &CniArgs) -> Result<Self, Failure> {
        let network = config.network()?;
        let args = config.args()?;
        let runtime_config = config.runtime_config()?;
        // A caller that names the device in one place means it in all.
        let given = runtime_config.get("deviceID").and_then(Value::as_str).filter(|text| !text.is_empty());
        let device_id = config.text("deviceID").or(given).or(config.text("pciBusID")).map(str::to_owned);
        let pci_bus_id = config.text("pciBusID").map(str::to_owned).or_else(|| device_id.clone());
        let mut folded = cni_args.fold_into(runtime_config.clone());
        if let Some(device) = &device_id {
            folded.insert("deviceID".to_owned(), Value::String(device.clone()));
        }
        let pod = cni_args.pod();
        Ok(Self { config, call, network, pod, args, runtime_config, folded, device_id, pci_bus_id })
    }

    /// The entry to write before the resolver is asked.
    pub(super) fn intent(
        &self,
        attempt: Attempt,
        netns: NetnsIdentity,
        boot_id: BootId,
        patience: Duration,
    ) -> Entry {
        let mut runtime_config = self.runtime_config.clone();
        if let Some(device) = &self.device_id {
            runtime_config.insert("deviceID".to_owned(), Value::String(device.clone()));
        }
        Entry {
            key: self.call.key.clone(),
            attempt,
            network: self.network.clone(),
            boot_id,
            state: LedgerState::Adding,
            leases: Vec::new(),
            netns: Some(netns),
            put_deadline: Some(seconds_of_clock_in(patience)),
            decision: None,
            pod: self.pod.clone(),
            config_name: self.config.name.clone(),
            cni_version: self.config.version.as_str().to_owned(),
            cni_args: self.call.cni_args.clone(),
            cni_path: self.call.cni_path.clone(),
            args: self.args.clone(),
            runtime_config,
            device_id: self.device_id.clone(),
            pci_bus_id: self.pci_bus_id.clone(),
            host_links: Vec::new(),
            plugins: Vec::new(),
            result: self.config.prev_result().cloned(),
        }
    }

    /// The question for an entry's attempt.
    pub(super) fn request(&self, entry: &Entry) -> AttachRequest {
        AttachRequest {
            network: self.network.clone(),
            boot_id: entry.boot_id.clone(),
            attempt: entry.attempt.clone(),
            // Set per endpoint, as the time is shared out.
            deadline_seconds: 1,
            pod: self.pod.clone(),
            args: args_cni(&self.args),
            runtime_config: self.folded.clone(),
            cni_version: self.config.version.as_str().to_owned(),
            leases: Vec::new(),
        }
    }
}

/// The configuration's `args.cni`.
pub(in crate::command) fn args_cni(args: &JsonObject) -> JsonObject {
    args.get("cni").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// When a question asked now can come to nothing any more. Whole seconds, rounded up, and a second for the way there.
fn seconds_of_clock_in(patience: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now + patience).as_secs() + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::decode;
    use crate::environment::{Command, Environment};
    use rstest::rstest;
    use serde_json::json;

    fn call(args: &str) -> Call {
        let environment: Environment = [
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/ns"),
            ("CNI_IFNAME", "net1"),
            ("CNI_PATH", "/bin"),
            ("CNI_ARGS", args),
        ]
        .into_iter()
        .collect();
        environment.call(Command::Add).unwrap()
    }

    fn config(extra: &Value) -> Config {
        let mut config =
            json!({"cniVersion": "1.0.0", "name": "shop.blue", "type": "knap", "network": "shop/blue"});
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Config::new(decode(config.to_string().as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn the_resolver_hears_what_the_caller_asks_for() {
        let call = call("K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u;IP=10.64.7.9/24");
        let config = config(&json!({
            "runtimeConfig": {"mac": "02:00:00:00:00:01"}, "args": {"cni": {"ips": ["10.64.7.8"]}, "other": {}}
        }));
        let args = CniArgs::parse(&call.cni_args).unwrap();
        let wish = Wish::new(&config, &call, &args).unwrap();
        let identity = NetnsIdentity { path: "/ns".into(), dev: 1, inode: 2, folder_dev: 3, folder_inode: 4 };
        let entry =
            wish.intent("a-1".parse().unwrap(), identity, "boot".parse().unwrap(), Duration::from_secs(8));
        let request = wish.request(&entry);
        assert_eq!(request.attempt, entry.attempt);
        assert_eq!(Value::Object(request.args), json!({"ips": ["10.64.7.8"]}));
        assert_eq!(
            Value::Object(request.runtime_config),
            json!({"mac": "02:00:00:00:00:01", "ips": ["10.64.7.9/24"]})
        );
        assert_eq!(request.pod.unwrap().name, "web-0");
        assert_eq!(Value::Object(entry.runtime_config), json!({"mac": "02:00:00:00:00:01"}));
    }

    #[rstest]
    #[case::multus(json!({"deviceID": "d", "pciBusID": "p", "runtimeConfig": {"deviceID": "d"}}), Some("d"), Some("p"))]
    #[case::the_capability_alone(json!({"runtimeConfig": {"deviceID": "d"}}), Some("d"), Some("d"))]
    #[case::the_top_alone(json!({"deviceID": "d"}), Some("d"), Some("d"))]
    #[case::none(json!({"deviceID": ""}), None, None)]
    fn a_device_named_once_is_named_everywhere(
        #[case] extra: Value,
        #[case] device: Option<&str>,
        #[case] bus: Option<&str>,
    ) {
        let (config, call) = (config(&extra), call(""));
        let wish = Wish::new(&config, &call, &CniArgs::default()).unwrap();
        assert_eq!((wish.device_id.as_deref(), wish.pci_bus_id.as_deref()), (device, bus));
        assert_eq!(wish.folded.get("deviceID").and_then(Value::as_str), device);
    }
}
