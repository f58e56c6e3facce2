//! The environment of a call: its CNI_ variables, parsed once, and all of it as delegates inherit it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use knap_protocol::{AttachmentKey, CniCode, InvalidName};

use crate::failure::Failure;

/// A variable that a command needs and that can't be taken as it is. All of these are code 4.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// CNI_COMMAND names none of ours.
    #[error("unknown CNI_COMMAND {0:?}: knap serves ADD, DEL, CHECK, GC, STATUS and VERSION")]
    UnknownCommand(String),
    /// Callers set variables that they do not use to the empty string, so empty is missing.
    #[error("{command:?} needs {}, which the environment lacks or leaves empty", .names.join(", "))]
    Missing {
        /// The command.
        command: Command,
        /// All variables that are missing.
        names: Vec<&'static str>,
    },
    /// A value that its rule does not allow.
    #[error("{name}: {source}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value, and the rule.
        source: InvalidName,
    },
    /// CNI_ARGS that are no `KEY=value` pairs.
    #[error("CNI_ARGS holds {0:?}: it must be KEY=value pairs, separated by ';'")]
    MalformedArgs(String),
}

impl From<EnvironmentError> for Failure {
    fn from(error: EnvironmentError) -> Self {
        Self::new(CniCode::ENVIRONMENT, error.to_string())
    }
}

/// CNI_COMMAND.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach.
    Add,
    /// Detach; repeatable.
    Del,
    /// Is the attachment as ADD left it?
    Check,
    /// Detach all that the list does not name.
    Gc,
    /// Could ADD be served?
    Status,
    /// Which versions are served?
    Version,
}

impl Command {
    /// As CNI_COMMAND spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Result<Self, EnvironmentError> {
        [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version]
            .into_iter()
            .find(|command| command.as_str() == text)
            .ok_or_else(|| EnvironmentError::UnknownCommand(text.to_owned()))
    }

    /// The variables that the command can't do without.
    const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Self::Gc | Self::Status => &["CNI_PATH"],
            Self::Version => &[],
        }
    }
}

/// What ADD, DEL and CHECK are called for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which attachment.
    pub key: AttachmentKey,
    /// CNI_NETNS as given; empty at a DEL whose namespace is gone.
    pub netns: String,
    /// CNI_ARGS as given.
    pub cni_args: String,
    /// CNI_PATH as given.
    pub cni_path: String,
}

/// The variables of a process, ours or a delegate's.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Ours.
    pub fn of_this_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// A variable's value; empty is unset, and so is what is no text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(OsStr::new(name)).and_then(|value| value.to_str()).filter(|value| !value.is_empty())
    }

    /// A variable's value, empty where unset.
    pub fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// The same, with one variable changed.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// All variables, as a child process gets them.
    pub fn variables(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }

    /// CNI_COMMAND; None where there is none at all.
    pub fn command(&self) -> Result<Option<Command>, EnvironmentError> {
        self.get("CNI_COMMAND").map(Command::parse).transpose()
    }

    /// Checks that all is there that the command needs.
    pub fn require(&self, command: Command) -> Result<(), EnvironmentError> {
        let missing = |name: &&&str| self.get(name).is_none();
        let names: Vec<&str> = command.needs().iter().filter(missing).copied().collect();
        if names.is_empty() { Ok(()) } else { Err(EnvironmentError::Missing { command, names }) }
    }

    /// The attachment that ADD, DEL or CHECK is for.
    pub fn call(&self, command: Command) -> Result<Call, EnvironmentError> {
        self.require(command)?;
        let invalid = |name| move |source| EnvironmentError::Invalid { name, source };
        let container_id = self.text("CNI_CONTAINERID").parse().map_err(invalid("CNI_CONTAINERID"))?;
        let ifname = self.text("CNI_IFNAME").parse().map_err(invalid("CNI_IFNAME"))?;
        Ok(Call {
            key: AttachmentKey { container_id, ifname },
            netns: self.text("CNI_NETNS"),
            cni_args: self.text("CNI_ARGS"),
            cni_path: self.text("CNI_PATH"),
        })
    }
}

impl<Name: Into<OsString>, Value: Into<OsString>> FromIterator<(Name, Value)> for Environment {
    fn from_iter<Pairs: IntoIterator<Item = (Name, Value)>>(pairs: Pairs) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn complete() -> Environment {
        [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/var/run/netns/c1"),
            ("CNI_IFNAME", "net1"),
            ("CNI_PATH", "/opt/cni/bin"),
        ]
        .into_iter()
        .collect()
    }

    #[rstest]
    #[case(Command::Add, "CNI_NETNS", true)]
    #[case(Command::Check, "CNI_NETNS", true)]
    #[case(Command::Del, "CNI_NETNS", false)]
    #[case(Command::Del, "CNI_IFNAME", true)]
    #[case(Command::Add, "CNI_PATH", true)]
    #[case(Command::Gc, "CNI_PATH", true)]
    #[case(Command::Status, "CNI_CONTAINERID", false)]
    #[case(Command::Version, "CNI_PATH", false)]
    fn an_empty_variable_is_missing(#[case] command: Command, #[case] name: &str, #[case] needed: bool) {
        match complete().with(name, "").require(command) {
            Ok(()) => assert!(!needed),
            Err(error) => assert!(needed && error.to_string().contains(name), "{error}"),
        }
    }

    #[rstest]
    #[case("CNI_CONTAINERID", "-x")]
    #[case("CNI_IFNAME", "a/b")]
    #[case("CNI_IFNAME", "sixteen-bytes-xx")]
    fn a_bad_name_is_refused_with_its_variable(#[case] name: &str, #[case] value: &str) {
        let error = Failure::from(complete().with(name, value).call(Command::Add).unwrap_err());
        assert_eq!(error.code, CniCode::ENVIRONMENT);
        assert!(error.message.contains(name) && error.message.contains(value), "{error}");
    }

    #[test]
    fn no_command_and_an_unknown_one_differ() {
        assert!(complete().with("CNI_COMMAND", "").command().unwrap().is_none());
        let error = complete().with("CNI_COMMAND", "add").command().unwrap_err().to_string();
        assert!(error.contains("CNI_COMMAND") && error.contains("add"), "{error}");
    }
}
