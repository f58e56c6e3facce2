//! What a pod's annotations say about networks, in both of the forms that Multus takes: a list with commas, or JSON.

use knap_protocol::InterfaceName;
use serde_json::{Map, Value};

/// More than any pod has interfaces.
const MOST: usize = 256;
/// Characters of a name of one part, as of Networks and namespaces.
const LABEL: usize = 63;
/// Characters of any other name.
const NAME: usize = 253;
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

/// What an annotation names, and so which names it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Networks: Knap's annotation does.
    Networks,
    /// NetworkAttachmentDefinitions, anybody's: Multus' annotation does. Dots are for the JSON form alone, as Multus has it.
    Definitions,
}

impl Names {
    const fn rule(self, json: bool) -> &'static str {
        match (self, json) {
            (Self::Networks, _) => "lower-case letters, digits and '-', 63 at most",
            (Self::Definitions, false) => {
                "lower-case letters, digits and '-', 253 at most; one with dots must be written as JSON"
            }
            (Self::Definitions, true) => "lower-case letters, digits, '-' and '.', 253 at most",
        }
    }

    fn hold(self, name: &str, json: bool) -> bool {
        match self {
            Self::Networks => is_label(name),
            Self::Definitions => {
                name.len() <= NAME && if json { name.split('.').all(is_part) } else { is_part(name) }
            }
        }
    }

    /// Refuses what can't be a name, or a namespace.
    fn check(
        self,
        name: &str,
        namespace: Option<&str>,
        json: bool,
        text: &str,
    ) -> Result<(), SelectionError> {
        if self.hold(name, json) && namespace.is_none_or(is_label) {
            return Ok(());
        }
        Err(SelectionError::Name { text: quoted(text), rule: self.rule(json) })
    }
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
    #[error("{text:?} is not [namespace/]name[@interface], with names of {rule}")]
    Name { text: String, rule: &'static str },
    #[error("{interface:?} can't be an interface of the pod: {why}")]
    Interface { interface: String, why: String },
    #[error("it names {0} networks, and a pod can have {MOST}")]
    TooMany(usize),
}

impl Selections {
    /// Reads an annotation.
    pub(super) fn read(text: &str, names: Names) -> Result<Self, SelectionError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        // As Multus tells the two apart.
        if text.contains(['[', '{', '"']) {
            return Ok(Self { all: read_json(text, names)?, json: true });
        }
        let parts: Vec<&str> = text.split(',').collect();
        within(parts.len())?;
        let all = parts.into_iter().map(|part| read_part(part, names)).collect::<Result<_, _>>()?;
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

fn read_part(part: &str, names: Names) -> Result<Selection, SelectionError> {
    let text = part.trim();
    let (network, interface) = match text.split_once('@') {
        Some((network, interface)) => (network, Some(checked(interface.trim())?)),
        None => (text, None),
    };
    let (namespace, name) = match network.split_once('/') {
        Some((namespace, name)) => (Some(namespace.trim()), name.trim()),
        None => (None, network.trim()),
    };
    names.check(name, namespace, false, text)?;
    Ok(Selection {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        interface,
        more: Map::new(),
    })
}

fn read_json(text: &str, names: Names) -> Result<Vec<Selection>, SelectionError> {
    let objects: Vec<Map<String, Value>> =
        serde_json::from_str(text).map_err(|error| SelectionError::Json(error.to_string()))?;
    within(objects.len())?;
    objects.into_iter().enumerate().map(|(index, object)| read_object(index + 1, object, names)).collect()
}

fn read_object(
    entry: usize,
    mut object: Map<String, Value>,
    names: Names,
) -> Result<Selection, SelectionError> {
    let mut text = |field: &'static str| match object.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(value) => Err(SelectionError::NotText { entry, field, value: quoted(&value.to_string()) }),
    };
    let (name, namespace, interface) = (text("name")?, text("namespace")?, text("interface")?);
    let name = name.ok_or(SelectionError::NoName { entry })?;
    let interface = interface.as_deref().map(checked).transpose()?;
    let whole = namespace.as_ref().map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
    names.check(&name, namespace.as_deref(), true, &whole)?;
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
    text.len() <= LABEL && is_part(text)
}

/// What is between the dots of a name.
fn is_part(text: &str) -> bool {
    !text.is_empty()
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
        for names in [Names::Networks, Names::Definitions] {
            assert_eq!(Selections::read(text, names).unwrap().write(), written);
        }
    }

    #[rstest]
    #[case(r#"[{"name":"macvlan.100"}]"#, true)]
    #[case(r#"[{"name":"a.b","namespace":"raw"},{"name":"c"}]"#, true)]
    #[case(r#"[{"name":"a","namespace":"raw.d"}]"#, false)]
    #[case(r#"[{"name":"a..b"}]"#, false)]
    #[case(r#"[{"name":".a"}]"#, false)]
    #[case(r#"[{"name":"a.-b"}]"#, false)]
    #[case("macvlan.100", false)]
    #[case(&"a".repeat(253), true)]
    #[case(&"a".repeat(254), false)]
    #[case(&format!(r#"[{{"name":"{}"}}]"#, "a.".repeat(126) + "a"), true)]
    #[case(&format!(r#"[{{"name":"{}"}}]"#, "a.".repeat(127) + "a"), false)]
    fn definitions_have_names_that_networks_have_not(#[case] text: &str, #[case] taken: bool) {
        let read = Selections::read(text, Names::Definitions);
        assert_eq!(read.is_ok(), taken, "{read:?}");
        assert!(read.is_err() || read.unwrap().write() == text);
        Selections::read(text, Names::Networks).unwrap_err();
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
        let error = Selections::read(text, Names::Networks).unwrap_err().to_string();
        assert!(error.contains(why) && error.len() < 400, "{error}");
    }
}
