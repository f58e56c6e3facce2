//! The program `knap`: a CNI plugin, run once per call.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use knap_cni::command;
use knap_cni::delegate::Processes;
use knap_cni::environment::Environment;
use knap_cni::session::Process;

fn main() -> ExitCode {
    let started = Instant::now();
    let environment = Environment::of_this_process();
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|text| text.to_string_lossy().into()).collect();
    let process = Process { environment: &environment, exec: &Processes, started };
    let answer = command::run(&process, &arguments);
    let _ = std::io::stderr().write_all(answer.stderr.as_bytes());
    // A result that nobody reads was not delivered: the runtime will DEL.
    let printed = std::io::stdout().write_all(answer.stdout.as_bytes());
    if answer.success && printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
