//! The command line.

mod serve;
mod webhooks;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnetwork::IpNetwork;

pub use crate::cluster::AgentAccount;
pub use serve::{EmbeddedArgs, KubernetesArgs, LogFormat, ServeArgs, StoreArgs, StoreKind};

pub use webhooks::{ServiceName, WebhooksArgs};

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
    /// Print the webhook configurations as YAML
    Webhooks(WebhooksArgs),
    /// Print the version
    Version,
}

/// Arguments of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// File with Networks to plan, and classes if wanted; `-` reads standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Manifest folder that the files would join or change
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig")]
    pub manifests: Option<PathBuf>,
    /// How to reach the cluster that the files would join or change; without it and without a folder, the kubeconfig
    /// that kubectl would use, where there is one
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Network of the cluster's own that no Network may overlap, as given to `serve`; may be repeated
    #[arg(long = "cluster-cidr", value_name = "CIDR")]
    pub cluster_cidrs: Vec<IpNetwork>,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    fn flags(text: &str) -> BTreeSet<String> {
        let words = text.split(|letter: char| letter != '-' && !letter.is_ascii_alphanumeric());
        let flags = words.filter_map(|word| word.strip_prefix("--"));
        flags.filter(|flag| flag.starts_with(char::is_alphabetic)).map(str::to_owned).collect()
    }

    #[test]
    fn the_flags_of_serve_are_those_of_the_documents() {
        let mut program = Cli::command();
        program.build();
        let serve = program.find_subcommand("serve").unwrap();
        let longs = serve.get_arguments().filter_map(|argument| argument.get_long());
        let known: BTreeSet<String> = longs.map(str::to_owned).collect();
        let of_cluster = include_str!("../../../docs/kubernetes.md");
        let rows = of_cluster.lines().filter_map(|line| line.strip_prefix("| `--")?.split(" | ").next());
        let told = flags(&rows.map(|flags| format!("--{flags} ")).collect::<String>());
        let unknown: Vec<_> = told.difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "in docs/kubernetes.md, and no flags: {unknown:?}");
        let on_a_host = flags(include_str!("../../../docs/single-host.md"));
        let untold: Vec<_> = known.difference(&told).filter(|flag| !on_a_host.contains(*flag)).collect();
        assert_eq!(untold, ["help", "version"], "neither in docs/kubernetes.md nor in docs/single-host.md");
    }
}
