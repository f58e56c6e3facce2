//! GC and STATUS of delegates: about a network, not an attachment.

use std::time::Instant;

use knap_protocol::{CniCode, JsonObject};
use serde_json::Value;

use super::config::of_network;
use super::{DelegateError, Delegates};
use crate::environment::{Command, Environment};
use crate::failure::Failure;
use crate::ledger::Entry;
use crate::version::CniVersion;

/// One command for all delegates of a network.
pub struct Upkeep<'a> {
    /// Runs them.
    pub delegates: &'a Delegates<'a>,
    /// The caller's.
    pub environment: &'a Environment,
    /// The network's configuration.
    pub name: &'a str,
    /// Its version.
    pub version: CniVersion,
    /// When they are killed.
    pub deadline: Instant,
}

/// The distinct delegate configurations of a network's attachments, whatever addresses each has.
pub fn distinct<'a>(entries: impl IntoIterator<Item = &'a Entry>, name: &str) -> Vec<JsonObject> {
    let mut distinct: Vec<(JsonObject, JsonObject)> = Vec::new();
    for plugin in entries.into_iter().flat_map(|entry| &entry.plugins) {
        let shape = of_network(plugin, name, CniVersion::LATEST, None);
        if !distinct.iter().any(|(known, _)| *known == shape) {
            distinct.push((shape, plugin.clone()));
        }
    }
    distinct.into_iter().map(|(_, plugin)| plugin).collect()
}

impl Upkeep<'_> {
    /// Runs GC or STATUS where the delegate's version has it. Goes on past errors and returns them all.
    pub fn run(&self, command: Command, plugins: &[JsonObject], valid: Option<&[Value]>) -> Vec<Failure> {
        let done = plugins.iter().map(|plugin| self.one(command, plugin, valid));
        done.filter_map(Result::err).map(Failure::from).collect()
    }

    fn one(
        &self,
        command: Command,
        plugin: &JsonObject,
        valid: Option<&[Value]>,
    ) -> Result<(), DelegateError> {
        let delegate = self.delegates.find(plugin)?;
        let version = self.delegates.negotiate(&delegate, self.version, self.environment, self.deadline)?;
        if version < CniVersion::V1_1_0 {
            return Ok(());
        }
        let stdin = Value::Object(of_network(plugin, self.name, version, valid)).to_string();
        match self.delegates.run(&delegate, command, self.environment, stdin.as_bytes(), self.deadline) {
            Ok(_) => Ok(()),
            // It claims the version and not the command.
            Err(DelegateError::Failed { failure, .. }) if failure.code == CniCode::ENVIRONMENT => Ok(()),
            Err(error) => Err(error),
        }
    }
}
