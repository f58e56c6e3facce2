//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Knap's resolver: decides what each attachment to a Network gets, and remembers it.
#[derive(Debug, Parser)]
#[command(name = "knap-resolver", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve attachments over HTTP until SIGTERM
    Serve(ServeArgs),
    /// Tell what Networks would become, and what they conflict with, without changing anything
    Plan(PlanArgs),
    /// Print the CustomResourceDefinitions as YAML
    Crds,
    /// Print the version
    Version,
}

/// Arguments of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where objects live
    #[arg(long, value_enum)]
    pub store: StoreKind,
    /// Folder of YAML files with Networks, NetworkClasses, Namespaces and Nodes; followed while serving
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// File that leases and reservations are kept in; made when missing
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    /// Address to serve on, loopback only
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback)]
    pub listen: SocketAddr,
    /// File with the bearer token that every call needs; made with random content when missing
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// What to log: a level, or directives as for `RUST_LOG`
    #[arg(long, value_name = "FILTER", env = "KNAP_LOG", default_value = "info")]
    pub log: String,
    /// How to log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Where objects live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// In a file, for a single host without Kubernetes
    Embedded,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

/// Arguments of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// File with Networks to plan, and classes if wanted; `-` reads standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Manifest folder that the files would join or change
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// Node whose delegate configurations are shown
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Nothing but the plugin on this host may reach the service: its protection is a bearer token without TLS.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write an IP address and a port, as in 127.0.0.1:7350".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("the embedded store is served on loopback only: use 127.0.0.1 or [::1]".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_takes_the_flags_of_the_design() {
        let line = "knap-resolver serve --store embedded --manifests m --state s --listen 127.0.0.1:1 --token-file t";
        let Command::Serve(serve) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        assert_eq!((serve.store, serve.listen.port()), (StoreKind::Embedded, 1));
        for (wrong, hint) in [("0.0.0.0:1", "loopback only"), ("localhost", "127.0.0.1:7350")] {
            let line = line.replace("127.0.0.1:1", wrong);
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
