//! The delegates of one attachment, run in order and in reverse.

use std::time::{Duration, Instant};

use knap_protocol::JsonObject;
use serde_json::Value;

use super::config::{cni_args, of_attachment};
use super::{Delegate, DelegateError, Delegates, Started, device, garbage, master};
use crate::cni_result::CniResult;
use crate::environment::{Command, Environment};
use crate::failure::Failure;
use crate::fault;
use crate::ledger::Entry;
use crate::version::CniVersion;

/// How long delegates may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Each of them.
    pub each: Duration,
    /// All of them together.
    pub until: Instant,
}

impl Patience {
    fn deadline(self) -> Instant {
        self.until.min(Instant::now() + self.each)
    }

    /// The same where `count` delegates have to share what is left: one that hangs must not cost the others their turn.
    fn shared_among(self, count: usize) -> Self {
        let left = self.until.saturating_duration_since(Instant::now());
        Self { each: self.each.min(left / u32::try_from(count).unwrap_or(u32::MAX).max(1)), ..self }
    }
}

/// An attachment's delegates, with what the ledger knows of it.
pub struct Chain<'a> {
    delegates: &'a Delegates<'a>,
    entry: &'a Entry,
    environment: Environment,
    version: CniVersion,
}

impl<'a> Chain<'a> {
    /// `environment` is the caller's; what it says of the attachment is replaced by what the ledger says, and `netns` is
    /// the namespace as the delegates are to see it.
    pub fn new(
        delegates: &'a Delegates<'a>,
        entry: &'a Entry,
        environment: &Environment,
        netns: &std::ffi::OsStr,
    ) -> Self {
        let mut environment = environment
            .clone()
            .with("CNI_CONTAINERID", entry.key.container_id.as_str())
            .with("CNI_IFNAME", entry.key.ifname.as_str())
            .with("CNI_NETNS", netns)
            .with("CNI_ARGS", cni_args(entry));
        if environment.get("CNI_PATH").is_none() {
            environment = environment.with("CNI_PATH", entry.cni_path.as_str());
        }
        let version = CniVersion::parse(&entry.cni_version).unwrap_or(CniVersion::LATEST);
        Self { delegates, entry, environment, version }
    }

    /// Refuses a chain that can't run, before any of it does: programs, versions and devices.
    pub fn examine(&self, patience: Patience) -> Result<(), DelegateError> {
        for plugin in &self.entry.plugins {
            let delegate = self.delegates.find(plugin)?;
            if device::is_lacking(&delegate.name, plugin, self.entry) {
                return Err(DelegateError::NoDevice { delegate: delegate.name });
            }
            self.delegates.negotiate(&delegate, self.version, &self.environment, patience.deadline())?;
        }
        Ok(())
    }

    /// Starts the program of the delegate at `index`, for [`Chain::add`] to tell it what to do. None if there is no
    /// such delegate.
    pub fn start(&self, index: usize, patience: Patience) -> Result<Option<Started>, DelegateError> {
        let Some(plugin) = self.entry.plugins.get(index) else { return Ok(None) };
        let delegate = self.delegates.find(plugin)?;
        let started = self.delegates.start(&delegate, Command::Add, &self.environment, patience.deadline());
        started.map(Some).map_err(|error| blame_master(plugin, error))
    }

    /// ADD of the delegate at `index`, after what `prev` says. It may have been started before.
    pub fn add(
        &self,
        index: usize,
        started: Option<Started>,
        prev: Option<&CniResult>,
        patience: Patience,
    ) -> Result<CniResult, DelegateError> {
        let Some(plugin) = self.entry.plugins.get(index) else {
            return Ok(prev.cloned().unwrap_or_default());
        };
        let deadline = patience.deadline();
        let delegate = self.delegates.find(plugin)?;
        let version = self.delegates.negotiate(&delegate, self.version, &self.environment, deadline)?;
        let config = of_attachment(plugin, self.entry, version, prev);
        let stdin = Value::Object(config).to_string();
        let started = match started {
            Some(started) => Ok(started),
            None => self.delegates.start(&delegate, Command::Add, &self.environment, deadline),
        };
        let output = started
            .and_then(|started| started.finish(stdin.as_bytes(), deadline))
            .map_err(|error| blame_master(plugin, error))?;
        let read = |stdout| Ok(CniResult::read(serde_json::from_slice(stdout)?, version)?);
        read(&output.stdout).map_err(|error: Box<dyn std::error::Error>| {
            garbage(&delegate, Command::Add, "result", &output, &*error)
        })
    }

    /// DEL of the first `count` delegates, in reverse, each with the final result. Goes on past errors and returns them
    /// all.
    pub fn del(&self, count: usize, prev: Option<&CniResult>, patience: Patience) -> Vec<Failure> {
        let plugins = self.entry.plugins.iter().take(count).enumerate().rev();
        let deleted = plugins.map(|(before, plugin)| {
            let deleted = self.quietly(Command::Del, plugin, prev, patience.shared_among(before + 1));
            fault::point("teardown.delegate-undone");
            deleted.or_else(|error| {
                if !master::went_with_its_master(plugin) {
                    return Err(error);
                }
                tracing::warn!(%error, "nothing is left to undo: its master is gone");
                Ok(())
            })
        });
        deleted.filter_map(Result::err).map(Failure::from).collect()
    }

    /// CHECK of all delegates, in order, up to the first that fails. One whose version has no CHECK is passed over.
    pub fn check(&self, prev: &CniResult, patience: Patience) -> Result<(), DelegateError> {
        for plugin in &self.entry.plugins {
            let delegate = self.delegates.find(plugin)?;
            let deadline = patience.deadline();
            let version = self.delegates.negotiate(&delegate, self.version, &self.environment, deadline)?;
            if version >= CniVersion::V0_4_0 {
                self.quietly(Command::Check, plugin, Some(prev), patience)?;
            }
        }
        Ok(())
    }

    /// A command that has no result.
    fn quietly(
        &self,
        command: Command,
        plugin: &JsonObject,
        prev: Option<&CniResult>,
        patience: Patience,
    ) -> Result<(), DelegateError> {
        let deadline = patience.deadline();
        let delegate: Delegate = self.delegates.find(plugin)?;
        let version = self.delegates.negotiate(&delegate, self.version, &self.environment, deadline)?;
        let stdin = Value::Object(of_attachment(plugin, self.entry, version, prev)).to_string();
        self.delegates.run(&delegate, command, &self.environment, stdin.as_bytes(), deadline)?;
        Ok(())
    }
}

/// A delegate whose master is missing seldom says so itself.
fn blame_master(plugin: &JsonObject, error: DelegateError) -> DelegateError {
    match master::missing(plugin) {
        Some(master) => DelegateError::NoMaster { master, source: Box::new(error) },
        None => error,
    }
}

/// The last result that the ledger has of an attachment.
pub fn last_result(entry: &Entry) -> Option<CniResult> {
    let assumed = CniVersion::parse(&entry.cni_version).unwrap_or(CniVersion::LATEST);
    CniResult::read(Value::Object(entry.result.clone()?), assumed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delegate::testing::{Called, Fake, entry, object};
    use rstest::rstest;
    use serde_json::json;

    fn patience() -> Patience {
        Patience { each: Duration::from_secs(5), until: Instant::now() + Duration::from_secs(5) }
    }

    fn two() -> Entry {
        entry(vec![
            object(json!({"type": "bridge", "ipam": {"type": "knap"}})),
            object(json!({"type": "tuning"})),
        ])
    }

    fn without_versions(fake: &Fake) -> Vec<Called> {
        fake.calls().into_iter().filter(|call| !call.step.starts_with("VERSION")).collect()
    }

    #[test]
    fn each_result_is_the_next_ones_prev_result() {
        let (fake, entry) = (Fake::new(&["bridge", "tuning"]), two());
        let delegates = fake.delegates();
        let chain = Chain::new(&delegates, &entry, &Environment::default(), "/ns".as_ref());
        let first = chain.add(0, None, None, patience()).unwrap();
        let second = chain.add(1, None, Some(&first), patience()).unwrap();
        assert_eq!(second.interfaces[0].name, "tuning");
        let calls = without_versions(&fake);
        assert_eq!(calls[0].stdin.get("prevResult"), None);
        assert_eq!(calls[1].stdin["prevResult"]["interfaces"], json!([{"name": "bridge"}]));
        assert_eq!(calls[1].stdin["cniVersion"], json!("1.0.0"));
    }

    #[test]
    fn delegates_see_the_attachment_as_the_ledger_has_it() {
        let (fake, mut entry) = (Fake::new(&["bridge", "tuning"]), two());
        entry.cni_args = "A=1;IP=10.0.0.5/24".to_owned();
        let callers = [("CNI_COMMAND", "DEL"), ("CNI_NETNS", ""), ("CNI_PATH", "/x"), ("OTHER", "kept")];
        let callers: Environment = callers.into_iter().collect();
        let delegates = fake.delegates();
        let chain = Chain::new(&delegates, &entry, &callers, "/ns".as_ref());
        assert_eq!(chain.del(2, None, patience()), []);
        let calls = without_versions(&fake);
        let environment = &calls[0].environment;
        for (name, value) in [
            ("CNI_COMMAND", "DEL"),
            ("CNI_NETNS", "/ns"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "net1"),
            ("CNI_ARGS", "A=1"),
            ("CNI_PATH", "/x"),
            ("OTHER", "kept"),
        ] {
            assert_eq!(environment.text(name), value, "{name}");
        }
    }

    #[test]
    fn teardown_is_in_reverse_and_goes_on_past_errors() {
        let fake = Fake::new(&["bridge", "tuning"])
            .failing("DEL tuning", r#"{"code": 42, "msg": "no"}"#)
            .failing("DEL bridge", "garbage");
        let entry = two();
        let delegates = fake.delegates();
        let chain = Chain::new(&delegates, &entry, &Environment::default(), "/ns".as_ref());
        let failures = chain.del(2, Some(&CniResult::default()), patience());
        let steps: Vec<String> = without_versions(&fake).into_iter().map(|call| call.step).collect();
        assert_eq!(steps, ["DEL tuning", "DEL bridge"]);
        assert_eq!(failures.iter().map(|failure| failure.code.0).collect::<Vec<_>>(), [42, 102]);
    }

    #[test]
    fn only_those_that_ran_are_torn_down() {
        let (fake, entry) = (Fake::new(&["bridge", "tuning"]), two());
        let delegates = fake.delegates();
        let chain = Chain::new(&delegates, &entry, &Environment::default(), "/ns".as_ref());
        chain.del(1, None, patience());
        assert_eq!(without_versions(&fake).len(), 1);
        assert_eq!(fake.steps().last().unwrap(), "DEL bridge");
    }

    #[rstest]
    #[case::old(&["0.3.1"], 0)]
    #[case::new(&["0.4.0"], 2)]
    fn check_passes_over_who_has_none(#[case] versions: &[&str], #[case] calls: usize) {
        let fake = Fake::new(&["bridge", "tuning"]).knowing(versions);
        let entry = two();
        let delegates = fake.delegates();
        let chain = Chain::new(&delegates, &entry, &Environment::default(), "/ns".as_ref());
        chain.check(&CniResult::default(), patience()).unwrap();
        assert_eq!(without_versions(&fake).len(), calls);
    }

    #[rstest]
    #[case::sriov(json!({"type": "sriov"}), None, false)]
    #[case::sriov_with_one(json!({"type": "sriov"}), Some("d"), true)]
    #[case::sriov_of_its_own(json!({"type": "sriov", "deviceID": "d"}), None, true)]
    #[case::host_device(json!({"type": "host-device"}), None, false)]
    #[case::host_device_by_name(json!({"type": "host-device", "device": "eth7"}), None, true)]
    #[case::bridge(json!({"type": "bridge"}), None, true)]
    fn a_missing_device_is_refused_before_anything_runs(
        #[case] plugin: Value,
        #[case] device: Option<&str>,
        #[case] good: bool,
    ) {
        let fake = Fake::new(&["sriov", "host-device", "bridge"]);
        let mut entry = entry(vec![object(plugin)]);
        entry.device_id = device.map(str::to_owned);
        let delegates = fake.delegates();
        let chain = Chain::new(&delegates, &entry, &Environment::default(), "/ns".as_ref());
        match chain.examine(patience()) {
            Ok(()) => assert!(good),
            Err(error) => {
                assert!(!good && error.to_string().contains("device"), "{error}");
                assert_eq!(error.code().0, 7);
                assert!(fake.steps().is_empty());
            }
        }
    }

    #[test]
    fn no_common_version_is_said_with_both_sides() {
        let fake = Fake::new(&["bridge", "tuning"]).knowing(&["0.1.0", "0.2.0"]);
        let entry = two();
        let delegates = fake.delegates();
        let chain = Chain::new(&delegates, &entry, &Environment::default(), "/ns".as_ref());
        let error = chain.examine(patience()).unwrap_err();
        assert_eq!(error.code().0, 1);
        assert!(error.to_string().contains("0.2.0") && error.to_string().contains("bridge"), "{error}");
    }
}
