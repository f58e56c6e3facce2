//! What a GC must leave alone.

use knap_protocol::{AttachmentKey, JsonObject};
use serde_json::Value;

use crate::config::ConfigError;

/// Where GC's list may stand: the specification's text has one, its Go library the other.
pub const ATTACHMENT_KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// What GC must leave alone.
#[derive(Debug, Clone, Default)]
pub struct ValidAttachments {
    keys: Vec<AttachmentKey>,
    items: Vec<Value>,
}

impl ValidAttachments {
    /// Whether the list names the attachment.
    pub fn contains(&self, key: &AttachmentKey) -> bool {
        self.keys.contains(key)
    }

    /// The list, for delegates.
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// The union of the two keys that carry the list. None where neither does, for a list that is missing is not an
    /// empty one.
    pub(crate) fn of(object: &JsonObject) -> Result<Option<Self>, ConfigError> {
        let mut valid = None;
        for key in ATTACHMENT_KEYS {
            match object.get(key) {
                None | Some(Value::Null) => {}
                Some(Value::Array(items)) => {
                    let valid = valid.get_or_insert_with(Self::default);
                    for item in items {
                        valid.insert(key, item)?;
                    }
                }
                Some(other) => {
                    return Err(ConfigError::Invalid { key, value: other.to_string(), rule: "a list" });
                }
            }
        }
        Ok(valid)
    }

    /// One that can't be read ends the GC: what it names would be taken for garbage.
    fn insert(&mut self, key: &'static str, item: &Value) -> Result<(), ConfigError> {
        match serde_json::from_value::<AttachmentKey>(item.clone()) {
            Ok(attachment) if self.keys.contains(&attachment) => {}
            Ok(attachment) => {
                self.keys.push(attachment);
                self.items.push(item.clone());
            }
            Err(_) => {
                return Err(ConfigError::Invalid {
                    key,
                    value: item.to_string(),
                    rule: "a list of {\"containerID\", \"ifname\"}",
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use knap_protocol::CniCode;
    use serde_json::json;

    fn of(key: &str, value: Value) -> Result<Option<ValidAttachments>, ConfigError> {
        ValidAttachments::of(&[(key.to_owned(), value)].into_iter().collect())
    }

    #[test]
    fn a_missing_list_is_not_an_empty_one() {
        assert!(ValidAttachments::of(&JsonObject::new()).unwrap().is_none());
        assert!(of("cni.dev/attachments", Value::Null).unwrap().is_none());
        let empty = of("cni.dev/attachments", json!([])).unwrap().unwrap();
        assert!(empty.items().is_empty());
    }

    #[test]
    fn the_union_of_both_lists_counts() {
        let mut object = JsonObject::new();
        object.insert("cni.dev/attachments".into(), json!([{"containerID": "c1", "ifname": "net1"}]));
        object.insert(
            "cni.dev/valid-attachments".into(),
            json!([{"containerID": "c2", "ifname": "net1"}, {"containerID": "c1", "ifname": "net1"}]),
        );
        let valid = ValidAttachments::of(&object).unwrap().unwrap();
        assert_eq!(valid.items().len(), 2);
        let key =
            |id: &str| AttachmentKey { container_id: id.parse().unwrap(), ifname: "net1".parse().unwrap() };
        assert!(valid.contains(&key("c1")) && valid.contains(&key("c2")) && !valid.contains(&key("c3")));
    }

    #[test]
    fn an_unreadable_list_ends_the_collection() {
        for wrong in [json!([{"containerID": "c1"}]), json!({"c1": "net1"}), json!("c1")] {
            let failure = Failure::from(of("cni.dev/attachments", wrong).unwrap_err());
            assert_eq!(failure.code, CniCode::INVALID_CONFIG);
        }
    }
}
