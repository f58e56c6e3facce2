//! CNI_ARGS: what a runtime says of the pod, and what it asks for.

use knap_protocol::{JsonObject, PodRef};
use serde_json::Value;

use crate::environment::EnvironmentError;

/// CNI_ARGS as pairs. Keys repeat, since a thin Multus appends its own again: the last non-empty value wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CniArgs(Vec<(String, String)>);

impl CniArgs {
    /// `KEY=value;KEY=value`. Empty pairs are nothing.
    pub fn parse(text: &str) -> Result<Self, EnvironmentError> {
        let pairs = text.split(';').filter(|pair| !pair.trim().is_empty());
        let parsed = pairs.map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
            None => Err(EnvironmentError::MalformedArgs(pair.to_owned())),
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// The last value of a key that is not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut newest_first = self.0.iter().rev();
        newest_first.find(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The pod; None outside Kubernetes.
    pub fn pod(&self) -> Option<PodRef> {
        Some(PodRef {
            namespace: self.get("K8S_POD_NAMESPACE")?.to_owned(),
            name: self.get("K8S_POD_NAME")?.to_owned(),
            uid: self.get("K8S_POD_UID").map(str::to_owned),
        })
    }

    /// The capabilities' values as the resolver gets them: `IP=` appended to `ips`, `MAC=` used where no `mac` is given.
    pub fn fold_into(&self, mut runtime_config: JsonObject) -> JsonObject {
        if let Some(addresses) = self.get("IP") {
            let wanted = addresses.split(',').map(str::trim).filter(|address| !address.is_empty());
            let wanted = wanted.map(|address| Value::String(address.to_owned()));
            match runtime_config.get_mut("ips").and_then(Value::as_array_mut) {
                Some(ips) => ips.extend(wanted),
                None => {
                    runtime_config.insert("ips".to_owned(), Value::Array(wanted.collect()));
                }
            }
        }
        let has_mac = runtime_config.get("mac").and_then(Value::as_str).is_some_and(|mac| !mac.is_empty());
        if let Some(mac) = self.get("MAC").filter(|_| !has_mac) {
            runtime_config.insert("mac".to_owned(), Value::String(mac.to_owned()));
        }
        runtime_config
    }
}

/// CNI_ARGS without requests for addresses, for delegates that must not allocate what Knap has.
pub fn without_addresses(text: &str) -> String {
    let is_request = |pair: &&str| pair.split_once('=').is_some_and(|(key, _)| key.trim() == "IP");
    text.split(';').filter(|pair| !is_request(pair)).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn object(value: Value) -> JsonObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_last_value_that_is_not_empty_wins() {
        let args = CniArgs::parse(
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=a;K8S_POD_NAME=p;K8S_POD_UID=;K8S_POD_INFRA_CONTAINER_ID=;\
             IgnoreUnknown=1;K8S_POD_NAMESPACE=b;K8S_POD_UID=u;K8S_POD_UID=",
        )
        .unwrap();
        let pod = args.pod().unwrap();
        assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_deref()), ("b", "p", Some("u")));
        assert_eq!(args.get("K8S_POD_INFRA_CONTAINER_ID"), None);
        assert_eq!(CniArgs::parse("K8S_POD_NAME=p").unwrap().pod(), None);
        assert_eq!(CniArgs::parse(";;").unwrap(), CniArgs::default());
    }

    #[test]
    fn what_is_no_pair_is_named() {
        let error = CniArgs::parse("A=b;nonsense").unwrap_err().to_string();
        assert!(error.contains("CNI_ARGS") && error.contains("nonsense"), "{error}");
    }

    #[test]
    fn requests_are_folded_into_the_capabilities() {
        let args = CniArgs::parse("IP=10.0.0.5/24, fd00::5/64;MAC=02:00:00:00:00:01").unwrap();
        assert_eq!(
            args.fold_into(JsonObject::new()),
            object(json!({"ips": ["10.0.0.5/24", "fd00::5/64"], "mac": "02:00:00:00:00:01"}))
        );
        let given = object(json!({"ips": ["10.0.0.4"], "mac": "02:00:00:00:00:02", "bandwidth": {}}));
        assert_eq!(
            args.fold_into(given),
            object(json!({
                "ips": ["10.0.0.4", "10.0.0.5/24", "fd00::5/64"], "mac": "02:00:00:00:00:02", "bandwidth": {}
            }))
        );
    }

    proptest! {
        #[test]
        fn stripping_takes_the_requests_and_nothing_else(
            pairs in prop::collection::vec(("IP|IPS|MAC|K8S_POD_NAME", "[a-z0-9./:]{0,8}"), 0..6)
        ) {
            let join = |pairs: &[(String, String)]| {
                pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";")
            };
            let kept: Vec<_> = pairs.iter().filter(|(key, _)| key != "IP").cloned().collect();
            prop_assert_eq!(without_addresses(&join(&pairs)), join(&kept));
        }
    }
}
