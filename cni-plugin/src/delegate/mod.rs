//! Delegates: the CNI plugins that do what the resolver decided.

mod chain;
mod config;
mod conversation;
mod device;
mod error;
mod exec;
mod master;
#[cfg(test)]
pub(crate) mod testing;
mod upkeep;
mod versions;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use knap_protocol::{CniCode, JsonObject};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::environment::{Command, Environment};
use crate::failure::Failure;
use crate::version::CniVersion;

pub use chain::{Chain, Patience, last_result};
pub use error::DelegateError;
pub use exec::{Exec, ExecError, Invocation, Output, Processes, Running};
pub use upkeep::{Upkeep, distinct};
pub use versions::VersionMemory;

/// VERSION is answered from the program's own text: one that takes longer will not do anything else in time either.
const VERSION_PATIENCE: Duration = Duration::from_secs(5);

/// Finds delegates, asks for their versions, and runs them.
pub struct Delegates<'a> {
    exec: &'a dyn Exec,
    versions: VersionMemory,
    cni_path: String,
}

/// A delegate's program, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegate {
    /// Its `type`.
    pub name: String,
    program: PathBuf,
}

impl<'a> Delegates<'a> {
    /// `cni_path` is a list of folders, separated by colons, searched in order.
    pub fn new(exec: &'a dyn Exec, state_dir: &Path, cni_path: impl Into<String>) -> Self {
        Self { exec, versions: VersionMemory::new(state_dir), cni_path: cni_path.into() }
    }

    /// Finds the program of a delegate's configuration.
    pub fn find(&self, plugin: &JsonObject) -> Result<Delegate, DelegateError> {
        let name = match plugin.get("type") {
            Some(Value::String(name)) if is_file_name(name) => name.clone(),
            None => return Err(DelegateError::Type("missing".to_owned())),
            Some(other) => return Err(DelegateError::Type(other.to_string())),
        };
        if matches!(name.as_str(), "knap" | "multus") {
            return Err(DelegateError::Recursive(name));
        }
        let folders = self.cni_path.split(':').filter(|folder| !folder.is_empty());
        match folders.map(|folder| Path::new(folder).join(&name)).find(|program| program.is_file()) {
            Some(program) => Ok(Delegate { name, program }),
            None => Err(DelegateError::NotInPath { delegate: name, path: self.cni_path.clone() }),
        }
    }

    /// The version to speak with a delegate, for a configuration at `version`.
    fn negotiate(
        &self,
        delegate: &Delegate,
        version: CniVersion,
        environment: &Environment,
        deadline: Instant,
    ) -> Result<CniVersion, DelegateError> {
        let known = self.known_versions(delegate, version, environment, deadline)?;
        version
            .negotiate(&known)
            .ok_or_else(|| DelegateError::Version { delegate: delegate.name.clone(), known })
    }

    fn known_versions(
        &self,
        delegate: &Delegate,
        version: CniVersion,
        environment: &Environment,
        deadline: Instant,
    ) -> Result<Vec<String>, DelegateError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            supported_versions: Vec<String>,
        }

        if let Some(known) = self.versions.recall(&delegate.program) {
            return Ok(known);
        }
        let asked = json!({ "cniVersion": version.as_str() }).to_string();
        let deadline = deadline.min(Instant::now() + VERSION_PATIENCE);
        let output = self.run(delegate, Command::Version, environment, asked.as_bytes(), deadline)?;
        let answer: Answer = serde_json::from_slice(&output.stdout)
            .map_err(|error| garbage(delegate, Command::Version, "version answer", &output, &error))?;
        self.versions.remember(&delegate.program, &answer.supported_versions);
        Ok(answer.supported_versions)
    }

    /// Runs a command. An exit status other than zero is an error: the delegate's own, if it printed one.
    fn run(
        &self,
        delegate: &Delegate,
        command: Command,
        environment: &Environment,
        stdin: &[u8],
        deadline: Instant,
    ) -> Result<Output, DelegateError> {
        self.start(delegate, command, environment, deadline)?.finish(stdin, deadline)
    }

    /// Starts a command, which then waits for its configuration.
    fn start(
        &self,
        delegate: &Delegate,
        command: Command,
        environment: &Environment,
        deadline: Instant,
    ) -> Result<Started, DelegateError> {
        let environment = environment.clone().with("CNI_COMMAND", command.as_str());
        let invocation = Invocation { program: &delegate.program, environment: &environment, deadline };
        let running = self.exec.start(&invocation).map_err(|source| delegate.lost(command, source))?;
        Ok(Started { delegate: delegate.clone(), command, running })
    }
}

/// A delegate whose program is loaded, and has not been told what to do. Dropped, it ends without having done anything.
pub struct Started {
    delegate: Delegate,
    command: Command,
    running: Box<dyn Running>,
}

impl Started {
    fn finish(self, stdin: &[u8], deadline: Instant) -> Result<Output, DelegateError> {
        let Self { delegate, command, running } = self;
        let begun = Instant::now();
        let output = running.finish(stdin, deadline).map_err(|source| delegate.lost(command, source))?;
        tracing::debug!(
            delegate = delegate.name,
            command = command.as_str(),
            status = output.status,
            microseconds = begun.elapsed().as_micros(),
            "ran a delegate"
        );
        if output.success { Ok(output) } else { Err(own_error(&delegate, command, &output)) }
    }
}

impl Delegate {
    fn lost(&self, command: Command, source: ExecError) -> DelegateError {
        DelegateError::Exec { delegate: self.name.clone(), command: command.as_str(), source }
    }
}

/// A delegate's own error document, or what it printed instead.
fn own_error(delegate: &Delegate, command: Command, output: &Output) -> DelegateError {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        code: u32,
        msg: String,
        #[serde(default)]
        details: Option<String>,
    }

    match serde_json::from_slice::<Document>(&output.stdout) {
        Ok(Document { code, msg, details }) => DelegateError::Failed {
            delegate: delegate.name.clone(),
            command: command.as_str(),
            failure: Failure {
                code: CniCode(code),
                message: msg,
                details: details.filter(|text| !text.is_empty()),
            },
        },
        Err(error) => garbage(delegate, command, "error", output, &error),
    }
}

fn garbage(
    delegate: &Delegate,
    command: Command,
    expected: &'static str,
    output: &Output,
    reason: &dyn std::error::Error,
) -> DelegateError {
    let printed: String = String::from_utf8_lossy(&output.stdout).chars().take(120).collect();
    let reason = if printed.trim().is_empty() {
        "it printed nothing; see its standard error".to_owned()
    } else {
        format!("{reason}; it printed {printed:?}")
    };
    DelegateError::Garbage {
        delegate: delegate.name.clone(),
        command: command.as_str(),
        expected,
        status: output.status.clone(),
        reason,
    }
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::testing::{Fake, object};
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::slash(json!({"type": "../bridge"}), 7)]
    #[case::itself(json!({"type": "knap"}), 7)]
    #[case::multus(json!({"type": "multus"}), 7)]
    #[case::no_type(json!({}), 7)]
    #[case::no_string(json!({"type": 1}), 7)]
    #[case::not_there(json!({"type": "bridge"}), 101)]
    fn what_can_not_be_run_is_refused(#[case] plugin: Value, #[case] code: u32) {
        let fake = Fake::new(&["macvlan"]);
        let error = fake.delegates().find(&object(plugin)).unwrap_err();
        assert_eq!(error.code(), CniCode(code), "{error}");
    }

    #[test]
    fn the_first_folder_wins_and_folders_are_no_programs() {
        let first = Fake::new(&["bridge"]);
        let second = Fake::new(&["bridge", "tuning"]);
        std::fs::create_dir(first.folder().join("tuning")).unwrap();
        let path = format!("/nonexistent::{}:{}", first.folder().display(), second.folder().display());
        let delegates = Delegates::new(&first, first.folder(), path);
        let find = |name: &str| delegates.find(&object(json!({"type": name}))).unwrap().program;
        assert_eq!(find("bridge"), first.folder().join("bridge"));
        assert_eq!(find("tuning"), second.folder().join("tuning"));
    }

    #[test]
    fn a_version_is_asked_once() {
        let fake = Fake::new(&["bridge"]);
        let delegates = fake.delegates();
        let bridge = delegates.find(&object(json!({"type": "bridge"}))).unwrap();
        for _ in 0..3 {
            let deadline = Instant::now() + VERSION_PATIENCE;
            let chosen =
                delegates.negotiate(&bridge, CniVersion::V1_1_0, &Environment::default(), deadline).unwrap();
            assert_eq!(chosen, CniVersion::V1_0_0);
        }
        assert_eq!(fake.steps(), ["VERSION bridge"]);
    }

    #[rstest]
    #[case::own(r#"{"code": 42, "msg": "no", "details": "none"}"#, 42, "no")]
    #[case::code_3_would_skip_the_cleanup(r#"{"code": 3, "msg": "gone"}"#, 11, "gone")]
    #[case::no_code(r#"{"msg": "old"}"#, 11, "old")]
    #[case::text("panic!", 102, "panic!")]
    #[case::nothing("", 102, "standard error")]
    fn a_delegates_error_is_kept_with_its_name(#[case] stdout: &str, #[case] code: u32, #[case] word: &str) {
        let delegate = Delegate { name: "bridge".to_owned(), program: PathBuf::new() };
        let output = Output {
            success: false,
            status: "exit status: 1".to_owned(),
            stdout: stdout.as_bytes().to_vec(),
        };
        let failure = Failure::from(own_error(&delegate, Command::Add, &output));
        assert_eq!(failure.code, CniCode(code));
        assert!(failure.message.contains("bridge") && failure.message.contains(word), "{failure}");
    }
}
