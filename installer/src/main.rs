//! `knap-installer`: puts the plugin on a node, and takes it away again.

use std::process::ExitCode;

use clap::Parser;
use knap_installer::cli::Arguments;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    match knap_installer::run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
