//! What the API server is to refuse: pieces of schema that the derive can't say. They keep out nonsense; what a value
//! means is the resolver's to judge, with a message that says more.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Of a label's key: `[prefix/]name`.
const LABEL_KEY: &str = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// Of a label's value.
const LABEL_VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// Letters and digits of an IP address.
const ADDRESS: &str = r"^[0-9a-fA-F:.]{2,45}$";
/// An address, a prefix, or a range.
const ADDRESSES: &str = r"^[0-9a-fA-F:.]{2,45}([-/][0-9a-fA-F:.]{1,45})?$";
/// As /proc/sys/kernel/random/boot_id has it, or any other token.
const BOOT_ID: &str = r"^[0-9A-Za-z-]{1,64}$";
/// A domain name.
const DOMAIN: &str = r"^[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?\.?$";

pub(crate) fn cidr(_: &mut SchemaGenerator) -> Schema {
    // "cidr" is one of the formats that API servers check.
    json_schema!({ "type": "string", "format": "cidr", "maxLength": 43 })
}

pub(crate) fn optional_cidr(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "cidr", "maxLength": 43, "nullable": true })
}

pub(crate) fn cidrs(_: &mut SchemaGenerator) -> Schema {
    list(&json!({ "type": "string", "format": "cidr", "maxLength": 43 }), 16)
}

pub(crate) fn optional_address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": ADDRESS, "nullable": true })
}

pub(crate) fn addresses(_: &mut SchemaGenerator) -> Schema {
    list(&json!({ "type": "string", "pattern": ADDRESS }), 16)
}

pub(crate) fn ranges(_: &mut SchemaGenerator) -> Schema {
    list(&json!({ "type": "string", "pattern": ADDRESSES }), 256)
}

pub(crate) fn optional_domain(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": DOMAIN, "maxLength": 254, "nullable": true })
}

pub(crate) fn domains(_: &mut SchemaGenerator) -> Schema {
    list(&json!({ "type": "string", "pattern": DOMAIN, "maxLength": 254 }), 32)
}

pub(crate) fn hints(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 64, "additionalProperties": { "type": "string", "maxLength": 1024 }
    })
}

pub(crate) fn families(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 2, "x-kubernetes-list-type": "set",
        "items": { "type": "string", "enum": ["IPv4", "IPv6"] }
    })
}

/// `100-199` or `100`.
pub(crate) fn vlans(_: &mut SchemaGenerator) -> Schema {
    list(&json!({ "type": "string", "pattern": r"^[0-9]{1,4}(-[0-9]{1,4})?$" }), 256)
}

/// `10000-19999` or `10000`.
pub(crate) fn vnis(_: &mut SchemaGenerator) -> Schema {
    list(&json!({ "type": "string", "pattern": r"^[0-9]{1,8}(-[0-9]{1,8})?$" }), 256)
}

pub(crate) fn selector(_: &mut SchemaGenerator) -> Schema {
    label_selector(false)
}

pub(crate) fn optional_selector(_: &mut SchemaGenerator) -> Schema {
    label_selector(true)
}

/// meta/v1 LabelSelector, as an API server checks those of its own kinds.
fn label_selector(nullable: bool) -> Schema {
    let key = json!({ "type": "string", "pattern": LABEL_KEY, "maxLength": 317 });
    let value = json!({ "type": "string", "pattern": LABEL_VALUE, "maxLength": 63 });
    let mut schema = json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": { "type": "object", "additionalProperties": value },
            "matchExpressions": { "type": "array", "maxItems": 64, "items": {
                "type": "object",
                "required": ["key", "operator"],
                "properties": {
                    "key": key,
                    "operator": { "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"] },
                    "values": { "type": "array", "maxItems": 256, "items": value },
                },
            } },
        },
    });
    if nullable {
        schema.insert("nullable".to_owned(), true.into());
    }
    schema
}

/// One boot of one machine.
pub(crate) fn boot_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": BOOT_ID })
}

pub(crate) fn boot_ids(_: &mut SchemaGenerator) -> Schema {
    list(&json!({ "type": "string", "pattern": BOOT_ID }), 64)
}

/// `1.1.0`.
pub(crate) fn versions(_: &mut SchemaGenerator) -> Schema {
    list(&json!({ "type": "string", "maxLength": 32 }), 32)
}

/// What nobody but the provider can judge.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn list(items: &Value, max: u32) -> Schema {
    json_schema!({ "type": "array", "maxItems": max, "items": items })
}
