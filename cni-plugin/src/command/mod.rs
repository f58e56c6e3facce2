//! The commands, one file each, and the choice among them.

mod add;
mod check;
mod del;
mod gc;
mod ipam;
mod reap;
mod status;
mod usage;
mod version;

use std::io::{self, IsTerminal, Read};

use knap_protocol::CniCode;

use crate::config::{self, Config};
use crate::environment::Command;
use crate::failure::Failure;
use crate::session::Process;
use crate::version::CniVersion;

/// What a run of the program comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For standard output; empty where the command has no result.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// Whether the exit status is zero.
    pub success: bool,
}

impl Answer {
    fn result(stdout: String) -> Self {
        Self { stdout, stderr: String::new(), success: true }
    }

    fn quiet() -> Self {
        Self::result(String::new())
    }
}

/// No configuration comes near this, and the plugin runs in little memory.
const LARGEST_INPUT: u64 = 8 << 20;

/// Runs what the arguments, or else CNI_COMMAND, ask for.
pub fn run(process: &Process<'_>, arguments: &[String]) -> Answer {
    match arguments.first().map(String::as_str) {
        Some("reap") => reap::run(process),
        #[cfg(feature = "fault-points")]
        Some("--fault-points") => Answer::result(format!("{}\n", crate::fault::POINTS.join("\n"))),
        _ => match process.environment.command() {
            Ok(None) => usage::run(),
            command => run_cni(process, command.map_err(Failure::from)),
        },
    }
}

/// Runs a CNI command, and makes its failure the error document.
fn run_cni(process: &Process<'_>, command: Result<Option<Command>, Failure>) -> Answer {
    let input = read_input();
    // The document is written in the configuration's version, if that much of it can be read.
    let version = input.as_ref().ok().and_then(|input| config::version(&config::decode(input).ok()?).ok());
    let answered = command.and_then(|command| match command {
        Some(command) => dispatch(process, command, &input?),
        None => Ok(usage::run()),
    });
    answered.unwrap_or_else(|failure| {
        tracing::error!(code = failure.code.0, "{failure}");
        Answer {
            stdout: failure.document(version.unwrap_or(CniVersion::LATEST)),
            stderr: String::new(),
            success: false,
        }
    })
}

fn dispatch(process: &Process<'_>, command: Command, input: &[u8]) -> Result<Answer, Failure> {
    let run = match command {
        Command::Version => return version::run(input),
        Command::Add => add::run,
        Command::Del => del::run,
        Command::Check => check::run,
        Command::Gc => gc::run,
        Command::Status => status::run,
    };
    process.environment.require(command)?;
    let object = config::decode(input)?;
    if config::asks_for_ipam(&object) {
        return ipam::run(command, &object);
    }
    run(process, &Config::new(object)?)
}

/// Standard input, which a person at a terminal does not give.
fn read_input() -> Result<Vec<u8>, Failure> {
    let mut input = Vec::new();
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(input);
    }
    match stdin.take(LARGEST_INPUT + 1).read_to_end(&mut input) {
        Ok(_) if input.len() as u64 <= LARGEST_INPUT => Ok(input),
        Ok(_) => {
            Err(Failure::new(CniCode::DECODE, "the configuration on standard input is larger than 8 MiB"))
        }
        Err(error) => Err(Failure::new(CniCode::IO, format!("can't read standard input: {error}"))),
    }
}
