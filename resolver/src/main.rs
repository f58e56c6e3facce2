//! Knap's resolver, as a program.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use knap_resolver::cli::{Cli, Command};
use knap_resolver::command::{crds, plan, serve, version, webhooks};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("knap-resolver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => {
            serve::run(&args)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Plan(args) => {
            let planned = plan::run(&args)?;
            print(&planned.text)?;
            Ok(if planned.refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Command::Crds => print(&crds::yaml()?),
        Command::Webhooks(args) => print(&webhooks::yaml(&args)?),
        Command::Version => print(&version::line()),
    }
}

/// A reader that went away, as `head` does, is no failure.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let text = text.trim_end_matches('\n');
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("can't write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
