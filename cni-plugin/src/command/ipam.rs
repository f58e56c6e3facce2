//! Knap as its own IPAM plugin: a delegate asks for what its configuration already holds.
//!
//! The resolver has allocated, the ledger has noted it, and both are somebody else's business by now: no file is
//! opened and nobody is asked.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use knap_protocol::{CniCode, JsonObject};
use serde::Deserialize;
use serde_json::Value;

use super::Answer;
use crate::cni_result::{CniResult, Dns, IpConfig, Route, empty_is_none};
use crate::config;
use crate::environment::Command;
use crate::failure::Failure;

/// The `ipam` object, in the shapes of the `static` plugin.
#[derive(Deserialize)]
struct Ipam {
    #[serde(default)]
    addresses: Vec<Address>,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    dns: Dns,
}

#[derive(Deserialize)]
struct Address {
    address: IpNetwork,
    #[serde(default, deserialize_with = "empty_is_none")]
    gateway: Option<IpAddr>,
}

/// ADD answers, everything else has nothing to do.
pub(super) fn run(command: Command, object: &JsonObject) -> Result<Answer, Failure> {
    if command != Command::Add {
        return Ok(Answer::quiet());
    }
    let version = config::version(object)?;
    let ipam = object.get("ipam").cloned().unwrap_or(Value::Null);
    let ipam: Ipam = serde_json::from_value(ipam).map_err(|error| {
        let message =
            format!("the delegate's \"ipam\" is not as the resolver writes it for type knap: {error}");
        Failure::new(CniCode::INVALID_CONFIG, message)
    })?;
    let ips = ipam.addresses.iter().map(|given| IpConfig::new(given.address, given.gateway));
    let result = CniResult { ips: ips.collect(), routes: ipam.routes, dns: ipam.dns, ..CniResult::default() };
    Ok(Answer::result(Value::Object(result.write(version)).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn config(version: &str, addresses: &Value) -> JsonObject {
        let ipam = json!({
            "type": "knap", "addresses": addresses, "routes": [{"dst": "0.0.0.0/0", "gw": "10.64.7.1"}],
            "dns": {"nameservers": ["10.64.7.2"]}
        });
        json!({"cniVersion": version, "name": "shop.blue", "type": "bridge", "ipam": ipam})
            .as_object()
            .unwrap()
            .clone()
    }

    fn addresses() -> Value {
        json!([{"address": "10.64.7.5/24", "gateway": "10.64.7.1"}, {"address": "fd00:64:7::5/64"}])
    }

    #[test]
    fn a_newer_result_is_as_the_static_plugins() {
        let answer = run(Command::Add, &config("1.0.0", &addresses())).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&answer.stdout).unwrap(),
            json!({
                "cniVersion": "1.0.0",
                "ips": [{"address": "10.64.7.5/24", "gateway": "10.64.7.1"}, {"address": "fd00:64:7::5/64"}],
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.64.7.1"}],
                "dns": {"nameservers": ["10.64.7.2"]}
            })
        );
    }

    #[rstest]
    #[case("0.3.1")]
    #[case("0.4.0")]
    fn an_older_result_says_the_family(#[case] version: &str) {
        let answer = run(Command::Add, &config(version, &addresses())).unwrap();
        let result: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!((&result["ips"][0]["version"], &result["ips"][1]["version"]), (&json!("4"), &json!("6")));
    }

    #[test]
    fn the_other_commands_have_nothing_to_do() {
        for command in [Command::Del, Command::Check, Command::Gc, Command::Status] {
            assert_eq!(run(command, &config("1.0.0", &json!([]))).unwrap(), Answer::quiet());
        }
    }

    #[rstest]
    #[case::address("1.0.0", json!([{"address": "10.64.7.500/24"}]), 7)]
    #[case::no_address("1.0.0", json!([{}]), 7)]
    #[case::version("0.2.0", json!([]), 1)]
    fn what_is_not_ours_is_refused(#[case] version: &str, #[case] addresses: Value, #[case] code: u32) {
        assert_eq!(run(Command::Add, &config(version, &addresses)).unwrap_err().code, CniCode(code));
    }
}
