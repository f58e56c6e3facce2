//! The network configuration on standard input.

use knap_protocol::{CniCode, InvalidName, JsonObject, NetworkName};
use serde_json::Value;

use crate::failure::Failure;
use crate::valid_attachments::ValidAttachments;
use crate::version::CniVersion;

/// A configuration that can't be served as it is.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No JSON object.
    #[error("can't decode the network configuration on standard input: {0}")]
    Undecodable(String),
    /// No version that Knap serves.
    #[error("the configuration's cniVersion is {asked}; knap serves {}", CniVersion::list())]
    Version {
        /// What it asks for.
        asked: String,
    },
    /// CHECK, GC and STATUS exist only from some version on.
    #[error("{command} needs cniVersion {since} or later, and the configuration is at {version}")]
    TooOld {
        /// The command.
        command: &'static str,
        /// Where it first exists.
        since: CniVersion,
        /// The configuration's version.
        version: CniVersion,
    },
    /// A key without which nothing can be done.
    #[error("the configuration has no {key:?}: {remedy}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What to write.
        remedy: &'static str,
    },
    /// A key whose value can't be taken.
    #[error("the configuration's {key:?} is {value}: it must be {rule}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A Network's name that is none.
    #[error("the configuration's \"network\": {0}")]
    Network(#[from] InvalidName),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = match error {
            ConfigError::Undecodable(_) => CniCode::DECODE,
            ConfigError::Version { .. } | ConfigError::TooOld { .. } => CniCode::VERSION,
            ConfigError::Missing { .. } | ConfigError::Invalid { .. } | ConfigError::Network(_) => {
                CniCode::INVALID_CONFIG
            }
        };
        Self::new(code, error.to_string())
    }
}

/// Decodes standard input.
pub fn decode(input: &[u8]) -> Result<JsonObject, ConfigError> {
    match serde_json::from_slice(input) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ConfigError::Undecodable("it is JSON, but no object".to_owned())),
        Err(error) => Err(ConfigError::Undecodable(error.to_string())),
    }
}

/// The highest served version of `cniVersion` and `cniVersions`.
pub fn version(object: &JsonObject) -> Result<CniVersion, ConfigError> {
    if let Some(other) = object.get("cniVersion").filter(|value| !value.is_string() && !value.is_null()) {
        return Err(ConfigError::Undecodable(format!("its cniVersion is {other}, not a string")));
    }
    let single = object.get("cniVersion").into_iter();
    let several = object.get("cniVersions").and_then(Value::as_array).into_iter().flatten();
    let asked: Vec<&str> = single.chain(several).filter_map(Value::as_str).collect();
    asked.iter().filter_map(|text| CniVersion::parse(text)).max().ok_or_else(|| ConfigError::Version {
        asked: if asked.is_empty() { "missing".to_owned() } else { asked.join(", ") },
    })
}

/// Whether Knap is asked as an IPAM plugin: somebody else's configuration, whose `ipam.type` is `knap`.
pub fn asks_for_ipam(object: &JsonObject) -> bool {
    let kind = object.get("type").and_then(Value::as_str);
    let ipam = object.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str);
    kind != Some("knap") && ipam == Some("knap")
}

/// A decoded configuration of a version that Knap serves, with a valid name. What only some commands need is
/// checked when they ask for it, so that a DEL is never refused for a key that it does not use.
#[derive(Debug, Clone)]
pub struct Config {
    /// The version of the result.
    pub version: CniVersion,
    /// `name`, as delegates and GC know the network.
    pub name: String,
    object: JsonObject,
}

impl Config {
    /// Checks version and name.
    pub fn new(object: JsonObject) -> Result<Self, ConfigError> {
        let version = version(&object)?;
        let name = match object.get("name") {
            None | Some(Value::Null) => {
                return Err(ConfigError::Missing { key: "name", remedy: "write \"<namespace>.<network>\"" });
            }
            Some(Value::String(name)) if is_network_name(name) => name.clone(),
            Some(other) => {
                return Err(ConfigError::Invalid {
                    key: "name",
                    value: other.to_string(),
                    rule: "a letter or digit, followed by letters, digits, '_', '.' or '-'",
                });
            }
        };
        Ok(Self { version, name, object })
    }

    /// Refuses commands that the configuration's version does not have.
    pub fn require(&self, command: &'static str, since: CniVersion) -> Result<(), ConfigError> {
        if self.version >= since {
            return Ok(());
        }
        Err(ConfigError::TooOld { command, since, version: self.version })
    }

    /// The Network to attach to.
    pub fn network(&self) -> Result<NetworkName, ConfigError> {
        match self.object.get("network") {
            None | Some(Value::Null) => {
                Err(ConfigError::Missing { key: "network", remedy: "write \"<namespace>/<network>\"" })
            }
            Some(Value::String(name)) => Ok(name.parse()?),
            Some(other) => Err(ConfigError::Invalid {
                key: "network",
                value: other.to_string(),
                rule: "a string, \"<namespace>/<network>\"",
            }),
        }
    }

    /// `args`, empty where there is none.
    pub fn args(&self) -> Result<JsonObject, ConfigError> {
        self.object_of("args")
    }

    /// `runtimeConfig`, empty where there is none.
    pub fn runtime_config(&self) -> Result<JsonObject, ConfigError> {
        self.object_of("runtimeConfig")
    }

    /// `prevResult`, where it is an object.
    pub fn prev_result(&self) -> Option<&JsonObject> {
        self.object.get("prevResult").and_then(Value::as_object)
    }

    /// A string at the top of the configuration; empty is absent.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A switch, which may be written as a string.
    pub fn switch(&self, key: &str) -> bool {
        match self.object.get(key) {
            Some(Value::Bool(on)) => *on,
            Some(Value::String(text)) => text.trim().eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// The attachments that GC must leave; None where no list says so.
    pub fn valid_attachments(&self) -> Result<Option<ValidAttachments>, ConfigError> {
        ValidAttachments::of(&self.object)
    }

    fn object_of(&self, key: &'static str) -> Result<JsonObject, ConfigError> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(JsonObject::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(other) => Err(ConfigError::Invalid { key, value: other.to_string(), rule: "an object" }),
        }
    }
}

/// CNI specification 1.1.0, section 1.
fn is_network_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn config(value: &Value) -> Result<Config, Failure> {
        Ok(Config::new(decode(value.to_string().as_bytes())?)?)
    }

    fn thin() -> JsonObject {
        decode(br#"{"cniVersion": "1.1.0", "name": "shop.blue", "type": "knap", "network": "shop/blue"}"#)
            .unwrap()
    }

    fn with(key: &str, value: Value) -> Config {
        let mut object = thin();
        object.insert(key.to_owned(), value);
        Config::new(object).unwrap()
    }

    #[rstest]
    #[case::single(json!({"cniVersion": "0.4.0"}), Some("0.4.0"))]
    #[case::several(json!({"cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0", "9.9.9"]}), Some("1.0.0"))]
    #[case::unserved_but_listed(json!({"cniVersion": "2.0.0", "cniVersions": ["1.1.0"]}), Some("1.1.0"))]
    #[case::unserved(json!({"cniVersion": "0.2.0"}), None)]
    #[case::missing(json!({}), None)]
    fn the_highest_served_version_is_chosen(#[case] value: Value, #[case] expected: Option<&str>) {
        let chosen = version(value.as_object().unwrap());
        assert_eq!(chosen.ok().map(CniVersion::as_str), expected);
    }

    #[rstest]
    #[case::no_name(json!({"cniVersion": "1.0.0"}), 7)]
    #[case::bad_name(json!({"cniVersion": "1.0.0", "name": "../x"}), 7)]
    #[case::name_is_no_string(json!({"cniVersion": "1.0.0", "name": 5}), 7)]
    #[case::version(json!({"cniVersion": "0.2.0", "name": "a"}), 1)]
    #[case::version_is_no_string(json!({"cniVersion": 1, "name": "a"}), 6)]
    #[case::no_object(json!([1]), 6)]
    fn each_defect_has_its_code(#[case] value: Value, #[case] code: u32) {
        assert_eq!(config(&value).unwrap_err().code, CniCode(code));
    }

    #[test]
    fn garbage_is_code_6() {
        for garbage in [&b"{"[..], b"", b" \n", b"null", b"{} {}", b"\xff"] {
            assert_eq!(Failure::from(decode(garbage).unwrap_err()).code, CniCode::DECODE);
        }
    }

    #[rstest]
    #[case(json!({"type": "bridge", "ipam": {"type": "knap"}}), true)]
    #[case(json!({"ipam": {"type": "knap"}}), true)]
    #[case(json!({"type": "knap", "ipam": {"type": "knap"}}), false)]
    #[case(json!({"type": "bridge", "ipam": {"type": "static"}}), false)]
    #[case(json!({"type": "bridge", "ipam": {}}), false)]
    fn the_role_is_known_by_the_two_types(#[case] value: Value, #[case] expected: bool) {
        assert_eq!(asks_for_ipam(value.as_object().unwrap()), expected);
    }

    #[test]
    fn switches_may_be_strings() {
        assert!(with("disableGC", json!("true")).switch("disableGC"));
        assert!(with("disableGC", json!(true)).switch("disableGC"));
        assert!(!with("disableGC", json!("false")).switch("disableGC"));
        assert!(!Config::new(thin()).unwrap().switch("disableGC"));
    }
}
