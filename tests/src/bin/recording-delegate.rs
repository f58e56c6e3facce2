//! A fake CNI plugin: `recording-delegate FOLDER NAME` appends its call to FOLDER's log and answers as FOLDER's script
//! for NAME says. It touches nothing else.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use knap_tests::delegate::{Action, Recorded, Script, log_file, plain_result, script_file};
use serde_json::{Value, json};

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // Not a CNI error: a test must not take a broken fixture for a delegate's answer.
            eprintln!("recording-delegate: {error:#}");
            ExitCode::from(99)
        }
    }
}

fn run() -> anyhow::Result<u8> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().context("no folder")?);
    let name = args.next().context("no name")?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    if text.is_empty() {
        // As skel does: without a configuration nothing is done.
        return print(&json!({ "code": 6, "msg": "no configuration on stdin" }).to_string(), 1);
    }
    let stdin = serde_json::from_str(&text).unwrap_or(Value::String(text.clone()));
    let call = Recorded {
        delegate: name.clone(),
        command: std::env::var("CNI_COMMAND").unwrap_or_default(),
        env: std::env::vars().collect(),
        stdin,
    };
    let script = std::fs::read_to_string(script_file(&folder, &name)).context("its script")?;
    let script: Script = serde_json::from_str(&script).context("its script")?;
    let actions = script.on.get(&call.command).map(Vec::as_slice).unwrap_or_default();
    let earlier = record(&folder, &call)?;
    let action = match actions {
        [] => Action::Succeed,
        [only] => only.clone(),
        [.., last] => {
            let calls = earlier.lines().filter_map(|line| serde_json::from_str::<Recorded>(line).ok());
            let turn = calls.filter(|earlier| earlier.step() == call.step()).count();
            actions.get(turn).unwrap_or(last).clone()
        }
    };
    act(action, &folder, &script, &call, &text)
}

/// Appends the call, under a lock; returns what was written before.
fn record(folder: &Path, call: &Recorded) -> anyhow::Result<String> {
    let path = log_file(folder);
    let log = File::options().create(true).read(true).append(true).open(&path).context("the log of calls")?;
    log.lock()?;
    let mut before = String::new();
    (&log).read_to_string(&mut before)?;
    let mut line = serde_json::to_string(call)?;
    line.push('\n');
    (&log).write_all(line.as_bytes())?;
    Ok(before)
}

fn act(action: Action, folder: &Path, script: &Script, call: &Recorded, text: &str) -> anyhow::Result<u8> {
    match action {
        Action::Succeed => succeed(script, call),
        Action::Result(result) => print(&result.to_string(), 0),
        Action::Print(text, status) => print(&text, u8::try_from(status)?),
        Action::Error(code, msg) => {
            let version = call.text("/cniVersion").unwrap_or("1.0.0");
            print(&json!({ "cniVersion": version, "code": code, "msg": msg }).to_string(), 1)
        }
        Action::Hang => hang(folder),
        Action::HangWithChild => {
            child(folder).spawn().context("sh")?;
            hang(folder)
        }
        Action::LeaveChild => {
            child(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("sh")?;
            succeed(script, call)
        }
        Action::Slow(milliseconds) => {
            std::thread::sleep(Duration::from_millis(milliseconds));
            succeed(script, call)
        }
        Action::AwaitFile(path) => {
            while folder.exists() && !path.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            succeed(script, call)
        }
        Action::Die => {
            nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL)?;
            Err(anyhow!("SIGKILL did not end the process"))
        }
        Action::Flood => {
            let line = [b'x'; 4096];
            while std::io::stdout().write_all(&line).is_ok() {}
            Ok(1)
        }
        Action::Complain(text) => {
            eprintln!("{text}");
            succeed(script, call)
        }
        Action::DelegateIpam => delegate_ipam(call, text),
    }
}

fn succeed(script: &Script, call: &Recorded) -> anyhow::Result<u8> {
    match call.command.as_str() {
        "VERSION" => {
            let asked = call.text("/cniVersion").unwrap_or("1.0.0");
            print(&json!({ "cniVersion": asked, "supportedVersions": script.versions }).to_string(), 0)
        }
        "ADD" => {
            let result = plain_result(&call.stdin, call.env("CNI_IFNAME"), call.env("CNI_NETNS"));
            print(&result.to_string(), 0)
        }
        _ => Ok(0),
    }
}

/// Runs its IPAM plugin with its own environment and input, as skel's ipam.ExecAdd does.
fn delegate_ipam(call: &Recorded, text: &str) -> anyhow::Result<u8> {
    let kind = call.text("/ipam/type").context("no ipam.type")?;
    let found = std::env::split_paths(call.env("CNI_PATH"))
        .map(|folder| folder.join(kind))
        .find(|path| path.is_file());
    let mut child = Command::new(found.with_context(|| format!("{kind} is not in CNI_PATH"))?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("its standard input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    print(&String::from_utf8_lossy(&output.stdout), u8::try_from(output.status.code().unwrap_or(1))?)
}

/// A process that ends with the test.
fn child(folder: &Path) -> Command {
    let mut command = Command::new("sh");
    let wait = r#"while [ -d "$0" ]; do sleep 0.2; done"#;
    command.args(["-c", wait]).arg(folder).stdin(Stdio::null());
    command
}

/// Until the test is over: then its folder goes, and with it whoever was left behind.
fn hang(folder: &Path) -> anyhow::Result<u8> {
    while folder.exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(1)
}

fn print(text: &str, status: u8) -> anyhow::Result<u8> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(status)
}
