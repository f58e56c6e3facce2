//! What a pod's annotations say about networks, in both of the forms that Multus takes: a list with commas, or JSON.

use knap_protocol::InterfaceName;
use serde_json::{Map, Value};

/// More than any pod has interfaces.
const MOST: usize = 256;
/// Characters of somebody's text that a message repeats.
const QUOTED: usize = 80;
/// Interfaces that every pod has.
const OWN: [&str; 2] = ["lo", "eth0"];

/// One network that a pod is to be attached to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Selection {
    /// Where it is named; the pod's otherwise.
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    /// Where it is named; after its place in the list otherwise.
    pub(super) interface: Option<String>,
    /// What else is said about it, in the JSON form.
    pub(super) more: Map<String, Value>,
}

/// All of them, in one of the forms.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Selections {
    pub(super) all: Vec<Selection>,
    pub(super) json: bool,
}

/// Why an annotation can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SelectionError {
    #[error("it is no JSON list of objects: {0}")]
    Json(String),
    #[error("entry {entry} has {field} {value}, which must be text")]
    NotText { entry: usize, field: &'static str, value: String },
    #[error("entry {entry} has no name")]
    NoName { entry: usize },
    #[error(
        "{text:?} is not [namespace/]name[@interface], with names of lower-case letters, digits and '-', 63 at most"
    )]
    Name { text: String },
    #[error("{interface:?} can't be an interface of the pod: {why}")]
    Interface { interface: String, why: String },
    #[error("it names {0} networks, and a pod can have {MOST}")]
    TooMany(usize),
}

impl Selections {
    /// Reads an annotation.
    pub(super) fn read(text: &str) -> Result<Self, SelectionError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        // As Multus tells the two apart.
        if text.contains(['[', '{', '"']) {
            return Ok(Self { all: read_json(text)?, json: true });
        }
        let parts: Vec<&str> = text.split(',').collect();
        let all = within(parts.len()).and_then(|()| parts.into_iter().map(read_part).collect())?;
        Ok(Self { all, json: false })
    }

    /// The annotation, in the form that it has.
    pub(super) fn write(&self) -> String {
        if self.json {
            return Value::Array(self.all.iter().map(Selection::json).collect()).to_string();
        }
        self.all.iter().map(Selection::part).collect::<Vec<_>>().join(",")
    }
}

impl Selection {
    fn part(&self) -> String {
        let namespace = self.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let interface = self.interface.as_ref().map(|interface| format!("@{interface}")).unwrap_or_default();
        format!("{namespace}{}{interface}", self.name)
    }

    fn json(&self) -> Value {
        let mut object = self.more.clone();
        object.insert("name".to_owned(), self.name.clone().into());
        let optional = [("namespace", &self.namespace), ("interface", &self.interface)];
        for (key, value) in optional.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))) {
            object.insert(key.to_owned(), value.into());
        }
        Value::Object(object)
    }
}

fn within(count: usize) -> Result<(), SelectionError> {
    if count > MOST { Err(SelectionError::TooMany(count)) } else { Ok(()) }
}

fn read_part(part: &str) -> Result<Selection, SelectionError> {
    let text = part.trim();
    let malformed = || SelectionError::Name { text: quoted(text) };
    let (network, interface) = match text.split_once('@') {
        Some((network, interface)) => (network, Some(checked(interface.trim())?)),
        None => (text, None),
    };
    let (namespace, name) = match network.split_once('/') {
        Some((namespace, name)) => (Some(namespace.trim()), name.trim()),
        None => (None, network.trim()),
    };
    if !is_label(name) || !namespace.is_none_or(is_label) {
        return Err(malformed());
    }
    Ok(Selection {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        interface,
        more: Map::new(),
    })
}

fn read_json(text: &str) -> Result<Vec<Selection>, SelectionError> {
    let objects: Vec<Map<String, Value>> =
        serde_json::from_str(text).map_err(|error| SelectionError::Json(error.to_string()))?;
    within(objects.len())?;
    objects.into_iter().enumerate().map(|(index, object)| read_object(index + 1, object)).collect()
}

fn read_object(entry: usize, mut object: Map<String, Value>) -> Result<Selection, SelectionError> {
    let mut text = |field: &'static str| match object.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(value) => Err(SelectionError::NotText { entry, field, value: quoted(&value.to_string()) }),
    };
    let (name, namespace, interface) = (text("name")?, text("namespace")?, text("interface")?);
    let name = name.ok_or(SelectionError::NoName { entry })?;
    let interface = interface.as_deref().map(checked).transpose()?;
    if let Some(text) = namespace.iter().chain([&name]).find(|text| !is_label(text)) {
        return Err(SelectionError::Name { text: quoted(text) });
    }
    Ok(Selection { namespace, name, interface, more: object })
}

fn checked(interface: &str) -> Result<String, SelectionError> {
    let refuse =
        |why: &str| Err(SelectionError::Interface { interface: quoted(interface), why: why.to_owned() });
    if OWN.contains(&interface) {
        return refuse("every pod has one already");
    }
    match interface.parse::<InterfaceName>() {
        Ok(_) => Ok(interface.to_owned()),
        Err(_) => refuse("it must have 1 to 15 bytes and hold no '/', ':' or white space"),
    }
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("blue", "blue")]
    #[case(" shop/blue@net7 , red ", "shop/blue@net7,red")]
    #[case("", "")]
    #[case(r#"[{"name":"blue"}]"#, r#"[{"name":"blue"}]"#)]
    #[case(
        r#"[{"name":"blue","namespace":"shop","interface":"a","ips":["10.0.0.9"],"mac":null}]"#,
        r#"[{"interface":"a","ips":["10.0.0.9"],"mac":null,"name":"blue","namespace":"shop"}]"#
    )]
    #[case("[]", "[]")]
    fn both_forms_are_read_and_written(#[case] text: &str, #[case] written: &str) {
        assert_eq!(Selections::read(text).unwrap().write(), written);
    }

    #[rstest]
    #[case("Blue", "\"Blue\" is not [namespace/]name[@interface]")]
    #[case("a,,b", "\"\" is not")]
    #[case("a/b/c", "\"a/b/c\" is not")]
    #[case("/a", "\"/a\" is not")]
    #[case("blau-grün", "\"blau-grün\" is not")]
    #[case("a@", "\"\" can't be an interface of the pod: it must have 1 to 15 bytes")]
    #[case("a@eth0", "\"eth0\" can't be an interface of the pod: every pod has one already")]
    #[case("a@much-too-long-a-name", "1 to 15 bytes")]
    #[case("a@b@c/d", "\"b@c/d\" can't be an interface")]
    #[case("{\"name\": \"a\"}", "it is no JSON list of objects")]
    #[case("[\"a\"]", "it is no JSON list of objects")]
    #[case("[{\"name\": \"a\"", "it is no JSON list of objects")]
    #[case("[{\"namespace\": \"a\"}]", "entry 1 has no name")]
    #[case("[{\"name\": \"a\"}, {\"name\": 7}]", "entry 2 has name 7, which must be text")]
    #[case("[{\"name\": \"a.b\"}]", "\"a.b\" is not")]
    #[case(&"a,".repeat(300), "it names 301 networks, and a pod can have 256")]
    #[case(&"a".repeat(1 << 20), "aaa...\" is not")]
    fn what_can_t_be_read_is_named(#[case] text: &str, #[case] why: &str) {
        let error = Selections::read(text).unwrap_err().to_string();
        assert!(error.contains(why) && error.len() < 400, "{error}");
    }
}
