//! Results of ADD, and their shapes in the versions of the specification.
//!
//! Held in the newest shape. Versions 0.x say the family of each address (`ips[].version`) and have neither `mtu`,
//! `socketPath` and `pciID` of interfaces nor the newer fields of routes.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use knap_protocol::JsonObject;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::version::CniVersion;

/// What is no result of a version that Knap serves.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// Another version's.
    #[error("its cniVersion {0:?} is none that knap serves")]
    Version(String),
    /// Not of a result's shape.
    #[error("{0}")]
    Shape(#[from] serde_json::Error),
}

/// A result (CNI specification 1.1.0, section "ADD Success").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CniResult {
    /// Interfaces made, on the host and in the sandbox.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Addresses given.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpConfig>,
    /// Routes made in the sandbox.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Name servers; always written, as the Go library does.
    #[serde(deserialize_with = "null_is_default")]
    pub dns: Dns,
}

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace's path; empty on the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// A userspace interface's socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// A device's address on the PCI bus.
    #[serde(default, rename = "pciID", skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpConfig {
    /// `4` or `6`; in versions 0.x alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// With the prefix length of its subnet.
    pub address: IpNetwork,
    /// The subnet's gateway.
    #[serde(default, deserialize_with = "empty_is_none", skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// An index into `interfaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<i64>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub dst: IpNetwork,
    /// Over what; the subnet's gateway where absent.
    #[serde(default, deserialize_with = "empty_is_none", skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Lower goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// The routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<i64>,
    /// The scope, as the kernel numbers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<i64>,
}

/// Name servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses, in order of preference.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl CniResult {
    /// Reads a result of any served version. One that does not say its version is at `assumed`; `null` is an empty one.
    pub fn read(value: Value, assumed: CniVersion) -> Result<Self, ResultError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        let version = match value.get("cniVersion").and_then(Value::as_str) {
            None | Some("") => assumed,
            Some(text) => CniVersion::parse(text).ok_or_else(|| ResultError::Version(text.to_owned()))?,
        };
        // The struct would also be read from a list; a result is an object.
        let object: JsonObject = serde_json::from_value(value)?;
        let mut result: Self = serde_json::from_value(Value::Object(object))?;
        if version < CniVersion::V1_0_0 {
            result.drop_newer_fields();
        }
        for ip in &mut result.ips {
            ip.version = None;
        }
        Ok(result)
    }

    /// The result in a version's shape, with its `cniVersion`.
    pub fn write(&self, version: CniVersion) -> JsonObject {
        let mut shaped = self.clone();
        if version < CniVersion::V1_0_0 {
            shaped.drop_newer_fields();
            for ip in &mut shaped.ips {
                ip.version = Some(if ip.address.is_ipv4() { "4" } else { "6" }.to_owned());
            }
        }
        let mut object = match serde_json::to_value(&shaped) {
            Ok(Value::Object(object)) => object,
            // Strings, numbers and addresses under fixed keys always have a JSON form.
            _ => JsonObject::new(),
        };
        object.insert("cniVersion".to_owned(), Value::String(version.as_str().to_owned()));
        object
    }

    fn drop_newer_fields(&mut self) {
        for interface in &mut self.interfaces {
            (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
        }
        for route in &mut self.routes {
            *route = Route {
                mtu: None,
                advmss: None,
                priority: None,
                table: None,
                scope: None,
                dst: route.dst,
                gw: route.gw,
            };
        }
    }
}

impl IpConfig {
    /// An address without an interface, as an IPAM plugin gives it.
    pub fn new(address: IpNetwork, gateway: Option<IpAddr>) -> Self {
        Self { version: None, address, gateway, interface: None }
    }
}

/// Go writes nil slices and structs as null.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    source: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

/// Go writes an address that is not there as an empty string.
pub(crate) fn empty_is_none<'de, D: Deserializer<'de>>(source: D) -> Result<Option<IpAddr>, D::Error> {
    match Option::<String>::deserialize(source)?.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    fn newest() -> Value {
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "net1", "mac": "0a:00:00:00:00:01", "mtu": 9000, "sandbox": "/ns", "pciID": "0000:00:01.0"},
                {"name": "vh", "socketPath": "/s"}
            ],
            "ips": [
                {"address": "10.64.7.5/24", "gateway": "10.64.7.1", "interface": 0},
                {"address": "fd00:64:7::5/64", "interface": 0}
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.64.7.1", "mtu": 1400, "priority": 5, "table": 7, "scope": 0}],
            "dns": {"nameservers": ["10.0.0.1"]}
        })
    }

    #[rstest]
    #[case(CniVersion::V1_0_0)]
    #[case(CniVersion::V1_1_0)]
    fn the_newer_versions_keep_all_fields(#[case] version: CniVersion) {
        let mut expected = newest();
        expected["cniVersion"] = json!(version.as_str());
        let result = CniResult::read(newest(), CniVersion::V0_3_1).unwrap();
        assert_eq!(Value::Object(result.write(version)), expected);
    }

    #[rstest]
    #[case(CniVersion::V0_3_1)]
    #[case(CniVersion::V0_4_0)]
    fn the_older_versions_say_the_family_and_lack_newer_fields(#[case] version: CniVersion) {
        let result = CniResult::read(newest(), CniVersion::V0_3_1).unwrap();
        assert_eq!(
            Value::Object(result.write(version)),
            json!({
                "cniVersion": version.as_str(),
                "interfaces": [
                    {"name": "net1", "mac": "0a:00:00:00:00:01", "sandbox": "/ns"}, {"name": "vh"}
                ],
                "ips": [
                    {"version": "4", "address": "10.64.7.5/24", "gateway": "10.64.7.1", "interface": 0},
                    {"version": "6", "address": "fd00:64:7::5/64", "interface": 0}
                ],
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.64.7.1"}],
                "dns": {"nameservers": ["10.0.0.1"]}
            })
        );
    }

    #[rstest]
    #[case::null(json!(null), true)]
    #[case::empty(json!({}), true)]
    #[case::go_nulls(json!({"interfaces": null, "ips": null, "routes": null, "dns": null}), true)]
    #[case::list(json!([]), false)]
    #[case::text(json!("ok"), false)]
    #[case::other_version(json!({"cniVersion": "0.2.0", "ip4": {}}), false)]
    #[case::bad_address(json!({"ips": [{"address": "10.0.0.300/24"}]}), false)]
    fn what_is_no_result_is_refused(#[case] value: Value, #[case] good: bool) {
        match CniResult::read(value, CniVersion::V1_0_0) {
            Ok(result) => assert!(good && result == CniResult::default()),
            Err(_) => assert!(!good),
        }
    }

    #[test]
    fn an_empty_gateway_is_none() {
        let value = json!({"ips": [{"version": "4", "address": "10.0.0.5/24", "gateway": ""}]});
        let result = CniResult::read(value, CniVersion::V0_4_0).unwrap();
        assert_eq!(result.ips, [IpConfig::new("10.0.0.5/24".parse().unwrap(), None)]);
    }

    proptest! {
        #[test]
        fn a_result_survives_every_version(
            hosts in prop::collection::vec((any::<[u8; 4]>(), 1_u8..=32, any::<bool>()), 0..5),
            version in prop::sample::select(&CniVersion::ALL[..]),
        ) {
            let ips = hosts.iter().map(|(bytes, length, gateway)| {
                let address = IpNetwork::new(IpAddr::from(*bytes), *length).unwrap();
                IpConfig::new(address, gateway.then(|| IpAddr::from([10, 0, 0, 1])))
            });
            let result = CniResult { ips: ips.collect(), ..CniResult::default() };
            let written = Value::Object(result.write(version));
            prop_assert_eq!(CniResult::read(written, CniVersion::LATEST).unwrap(), result);
        }
    }
}
