//! What tests of delegates share: programs that only record, and an attachment.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use knap_protocol::{AttachmentKey, JsonObject, LedgerState};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Delegates, Exec, ExecError, Invocation, Output, Running};
use crate::environment::Environment;
use crate::ledger::Entry;

/// One call of a fake delegate.
#[derive(Debug, Clone)]
pub(super) struct Called {
    pub(super) step: String,
    pub(super) environment: Environment,
    pub(super) stdin: Value,
}

/// Delegates that exist as empty files, know versions up to 1.0.0, succeed, and are recorded.
pub(crate) struct Fake {
    folder: TempDir,
    calls: Rc<RefCell<Vec<Called>>>,
    fails: Vec<(String, String)>,
    hangs: Option<(String, Duration)>,
    versions: Value,
}

impl Fake {
    pub(crate) fn new(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let versions = json!(["0.3.1", "0.4.0", "1.0.0"]);
        Self { folder, calls: Rc::default(), fails: Vec::new(), hangs: None, versions }
    }

    /// Prints `text` and fails at a step, `DEL bridge`.
    pub(super) fn failing(mut self, step: &str, text: &str) -> Self {
        self.fails.push((step.to_owned(), text.to_owned()));
        self
    }

    /// Is killed after so long at a step.
    pub(crate) fn hanging(mut self, step: &str, time: Duration) -> Self {
        self.hangs = Some((step.to_owned(), time));
        self
    }

    pub(super) fn knowing(mut self, versions: &[&str]) -> Self {
        self.versions = json!(versions);
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn delegates(&self) -> Delegates<'_> {
        Delegates::new(self, self.folder(), self.folder().to_str().unwrap())
    }

    pub(super) fn calls(&self) -> Vec<Called> {
        self.calls.borrow().clone()
    }

    pub(super) fn steps(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.step).collect()
    }
}

impl Exec for Fake {
    fn start(&self, invocation: &Invocation<'_>) -> Result<Box<dyn Running>, ExecError> {
        let name = invocation.program.file_name().unwrap().to_str().unwrap().to_owned();
        let environment = invocation.environment.clone();
        let step = format!("{} {name}", environment.text("CNI_COMMAND"));
        let fails = self.fails.iter().find(|(failing, _)| *failing == step).map(|(_, text)| text.clone());
        let hangs = self.hangs.as_ref().filter(|(hanging, _)| *hanging == step).map(|(_, time)| *time);
        let (calls, versions) = (Rc::clone(&self.calls), self.versions.clone());
        Ok(Box::new(FakeRun { name, step, environment, fails, hangs, versions, calls }))
    }
}

/// One run of a fake delegate, which counts as a call once it is told what to do.
struct FakeRun {
    name: String,
    step: String,
    environment: Environment,
    fails: Option<String>,
    hangs: Option<Duration>,
    versions: Value,
    calls: Rc<RefCell<Vec<Called>>>,
}

impl Running for FakeRun {
    fn finish(self: Box<Self>, stdin: &[u8], _deadline: Instant) -> Result<Output, ExecError> {
        let Self { name, step, environment, fails, hangs, versions, calls } = *self;
        let command = environment.text("CNI_COMMAND");
        let stdin: Value = serde_json::from_slice(stdin).unwrap();
        calls.borrow_mut().push(Called { step, environment, stdin: stdin.clone() });
        if let Some(after) = hangs {
            thread::sleep(after);
            return Err(ExecError::Killed { program: name, after });
        }
        if let Some(text) = fails {
            let status = "exit status: 1".to_owned();
            return Ok(Output { success: false, status, stdout: text.into_bytes() });
        }
        let stdout = match command.as_str() {
            "VERSION" => json!({"cniVersion": "1.0.0", "supportedVersions": versions}).to_string(),
            "ADD" => {
                let interfaces = json!([{"name": name}]);
                json!({"cniVersion": stdin["cniVersion"], "interfaces": interfaces}).to_string()
            }
            _ => String::new(),
        };
        Ok(Output { success: true, status: "exit status: 0".to_owned(), stdout: stdout.into_bytes() })
    }
}

pub(super) fn object(value: Value) -> JsonObject {
    serde_json::from_value(value).unwrap()
}

/// An attachment of `shop/blue` with these delegates.
pub(super) fn entry(plugins: Vec<JsonObject>) -> Entry {
    Entry {
        key: AttachmentKey { container_id: "c1".parse().unwrap(), ifname: "net1".parse().unwrap() },
        attempt: "a-1".parse().unwrap(),
        network: "shop/blue".parse().unwrap(),
        boot_id: "boot-1".parse().unwrap(),
        state: LedgerState::Adding,
        leases: Vec::new(),
        netns: None,
        put_deadline: None,
        decision: None,
        pod: None,
        config_name: "shop.blue".to_owned(),
        cni_version: "1.1.0".to_owned(),
        cni_args: String::new(),
        cni_path: String::new(),
        args: JsonObject::new(),
        runtime_config: JsonObject::new(),
        device_id: None,
        pci_bus_id: None,
        host_links: Vec::new(),
        plugins,
        result: None,
    }
}
