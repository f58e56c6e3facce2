//! The arguments of `serve`: what every store needs, and what only one of them does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::EnumValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches, ValueEnum};
use ipnetwork::IpNetwork;
use rustls::pki_types::ServerName;

use crate::admission::RawPolicy;
use crate::cluster::AgentAccount;

/// Arguments of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where objects live, with what that needs.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Address to serve on, `[::]` for all of both families; with the embedded store, which serves without TLS, loopback only
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = socket_address)]
    pub listen: SocketAddr,
    /// What to log: a level, or directives as for `RUST_LOG`
    #[arg(long, value_name = "FILTER", env = "KNAP_LOG", default_value = "info")]
    pub log: String,
    /// How to log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Where objects live, with what that needs.
#[derive(Debug, Clone)]
pub enum StoreArgs {
    /// In a file.
    Embedded(EmbeddedArgs),
    /// In the Kubernetes API.
    Kubernetes(KubernetesArgs),
}

/// Where objects live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// In a file, for a single host without Kubernetes
    Embedded,
    /// In the Kubernetes API, for a cluster
    Kubernetes,
}

/// What the embedded store needs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "With --store embedded")]
pub struct EmbeddedArgs {
    /// Folder of YAML files with Networks, NetworkClasses, Namespaces and Nodes; followed while serving
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// File that leases and reservations are kept in; made when missing
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    /// File with the bearer token that every call needs; made with random content when missing
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
}

/// What the Kubernetes API as the store needs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "With --store kubernetes")]
pub struct KubernetesArgs {
    /// How to reach the API server; without it, KUBECONFIG, ~/.kube/config, or in a pod its service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where the resolver keeps what is its own, its Lease and its certificates; without it, the pod's or the kubeconfig's
    /// namespace
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// DNS name or IP address by which nodes call this service; may be given again. Loopback and a single address to
    /// listen on are known anyway
    #[arg(long = "tls-name", id = "tls-name", value_name = "NAME", value_parser = tls_name)]
    pub tls_names: Vec<String>,
    /// Network that the cluster itself uses, of pods or Services or nodes, and that no Network may overlap; may be given
    /// again. What Nodes and ServiceCIDRs say is known anyway
    #[arg(long = "cluster-cidr", id = "cluster-cidr", value_name = "CIDR")]
    pub cluster_cidrs: Vec<IpNetwork>,
    /// Service account of nodes' agents, whose pods alone get tokens of their nodes; without it, knap-node in the
    /// resolver's namespace
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub agent_service_account: Option<AgentAccount>,
    /// What is done about NetworkAttachmentDefinitions that attach to links of the hosts, past Knap
    #[arg(long, id = "raw-attachments", value_enum, default_value_t, value_name = "POLICY")]
    pub raw_attachments: RawPolicy,
    /// User or group that may make such definitions in any case; may be given again. Groups system:masters and
    /// system:serviceaccounts:kube-system may anyway
    #[arg(long = "raw-attachments-exempt", id = "raw-attachments-exempt", value_name = "NAME")]
    pub raw_attachments_exempt: Vec<String>,
    /// Seconds for which requests are still taken after SIGTERM, while callers learn that it is not ready any more
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub drain: Duration,
    /// After how long a Node that stays deleted is fenced: what it held is freed. Never unless given, since its machine may still
    /// run (90s, 10m, 2h, 1d)
    #[arg(long, id = "gone-node-after", value_name = "DURATION", value_parser = duration)]
    pub gone_node_after: Option<Duration>,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

/// Arguments of one store, which the other refuses.
const EMBEDDED: [&str; 3] = ["manifests", "state", "token_file"];
const KUBERNETES: [&str; 9] = [
    "kubeconfig",
    "namespace",
    "tls-name",
    "cluster-cidr",
    "agent_service_account",
    "raw-attachments",
    "raw-attachments-exempt",
    "drain",
    "gone-node-after",
];

impl Args for StoreArgs {
    fn augment_args(command: Command) -> Command {
        let kind = Arg::new("store").long("store").required(true).help("Where objects live");
        let command = command.arg(kind.value_parser(EnumValueParser::<StoreKind>::new()));
        let mut command = KubernetesArgs::augment_args(EmbeddedArgs::augment_args(command));
        for argument in EMBEDDED {
            command =
                command.mut_arg(argument, |arg| arg.required(false).required_if_eq("store", "embedded"));
        }
        command.next_help_heading(None::<&str>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for StoreArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let kind = matches.get_one::<StoreKind>("store").copied();
        let kind =
            kind.ok_or_else(|| Error::raw(ErrorKind::MissingRequiredArgument, "--store is missing"))?;
        refuse_mixture(kind, matches)?;
        match kind {
            StoreKind::Embedded => {
                refuse_exposure(matches)?;
                EmbeddedArgs::from_arg_matches(matches).map(Self::Embedded)
            }
            StoreKind::Kubernetes => KubernetesArgs::from_arg_matches(matches).map(Self::Kubernetes),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What was given for the other store would be ignored, and somebody meant something by it. The environment does not
/// count: in a pod it is the same for every program.
fn refuse_mixture(kind: StoreKind, matches: &ArgMatches) -> Result<(), Error> {
    let (own, other, others) = match kind {
        StoreKind::Embedded => ("embedded", "kubernetes", &KUBERNETES[..]),
        StoreKind::Kubernetes => ("kubernetes", "embedded", &EMBEDDED[..]),
    };
    let given = |argument: &&&str| matches.value_source(argument) == Some(ValueSource::CommandLine);
    match others.iter().find(given) {
        None => Ok(()),
        Some(argument) => Err(Error::raw(
            ErrorKind::ArgumentConflict,
            format!(
                "--{} belongs to --store {other} and means nothing with --store {own}: remove it\n",
                argument.replace('_', "-")
            ),
        )),
    }
}

/// Nothing but this host may reach what is protected by a bearer token without TLS.
fn refuse_exposure(matches: &ArgMatches) -> Result<(), Error> {
    match matches.get_one::<SocketAddr>("listen") {
        Some(address) if !address.ip().is_loopback() => Err(Error::raw(
            ErrorKind::ValueValidation,
            format!(
                "--listen {address}: it is served without TLS, so on loopback only: use 127.0.0.1 or [::1]\n"
            ),
        )),
        _ => Ok(()),
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, as in 127.0.0.1:4180".to_owned())
}

/// As a certificate can carry it.
fn tls_name(text: &str) -> Result<String, String> {
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("write a DNS name or an IP address, as in knap-resolver.knap-system.svc".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 0..=600) => Ok(Duration::from_secs(seconds)),
        _ => Err("write a number of seconds from 0 to 600".to_owned()),
    }
}

/// A whole number and its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, seconds) = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .unwrap_or(("", 0));
    match number.parse::<u32>() {
        Ok(number @ 1..) => Ok(Duration::from_secs(u64::from(number) * seconds)),
        _ => Err("write a number and s, m, h or d, as in 10m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;
    use crate::cli::{Cli, Command};

    const EMBEDDED_LINE: &str =
        "knap-resolver serve --store embedded --manifests m --state s --listen 127.0.0.1:1 --token-file t";
    const KUBERNETES_LINE: &str = "knap-resolver serve --store kubernetes --listen 127.0.0.1:1";

    fn parsed(line: &str) -> ServeArgs {
        let Command::Serve(serve) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        serve
    }

    #[test]
    fn serve_takes_the_flags_of_the_design() {
        let serve = parsed(EMBEDDED_LINE);
        let StoreArgs::Embedded(embedded) = serve.store else { panic!() };
        assert_eq!((embedded.manifests, serve.listen.port()), (PathBuf::from("m"), 1));
        let line = format!("{} --agent-service-account a/b", KUBERNETES_LINE.replace("127.0.0.1", "0.0.0.0"));
        let serve = parsed(&format!(
            "{line} --drain 7 --gone-node-after 10m --namespace knap-system --tls-name knap.svc --tls-name ::1"
        ));
        let StoreArgs::Kubernetes(kubernetes) = serve.store else { panic!() };
        assert_eq!(kubernetes.drain, Duration::from_secs(7));
        assert_eq!(kubernetes.gone_node_after, Some(Duration::from_secs(600)));
        assert_eq!(kubernetes.namespace.as_deref(), Some("knap-system"));
        assert_eq!(kubernetes.tls_names, ["knap.svc", "::1"]);
        assert_eq!(
            kubernetes.agent_service_account.map(|account| account.to_string()).as_deref(),
            Some("a/b")
        );
    }

    #[rstest]
    #[case::no_store("knap-resolver serve --listen 127.0.0.1:1", "--store")]
    #[case::no_manifests(&EMBEDDED_LINE.replace(" --manifests m", ""), "--manifests")]
    #[case::no_state(&EMBEDDED_LINE.replace(" --state s", ""), "--state")]
    #[case::folder_in_a_cluster(&format!("{KUBERNETES_LINE} --manifests m"), "--manifests belongs to --store embedded")]
    #[case::no_token_file(&EMBEDDED_LINE.replace(" --token-file t", ""), "--token-file")]
    #[case::token_file_in_a_cluster(&format!("{KUBERNETES_LINE} --token-file t"), "--token-file belongs to --store embedded")]
    #[case::agent(&format!("{KUBERNETES_LINE} --agent-service-account knap-node"), "a namespace and a service account")]
    #[case::drain_on_a_host(&format!("{EMBEDDED_LINE} --drain 5"), "--drain belongs to --store kubernetes")]
    #[case::drain(&format!("{KUBERNETES_LINE} --drain 5s"), "a number of seconds")]
    #[case::gone_on_a_host(&format!("{EMBEDDED_LINE} --gone-node-after 5m"), "--gone-node-after belongs to")]
    #[case::gone(&format!("{KUBERNETES_LINE} --gone-node-after 10"), "a number and s, m, h or d")]
    #[case::gone_at_once(&format!("{KUBERNETES_LINE} --gone-node-after 0s"), "a number and s, m, h or d")]
    #[case::exposed(&EMBEDDED_LINE.replace("127.0.0.1", "0.0.0.0"), "loopback only")]
    #[case::no_name(&format!("{KUBERNETES_LINE} --tls-name https://knap"), "a DNS name or an IP address")]
    #[case::name_on_a_host(&format!("{EMBEDDED_LINE} --tls-name knap"), "--tls-name belongs to --store kubernetes")]
    #[case::no_address(&EMBEDDED_LINE.replace("127.0.0.1:1", "localhost"), "127.0.0.1:4180")]
    fn what_makes_no_sense_is_refused(#[case] line: &str, #[case] hint: &str) {
        let error = Cli::try_parse_from(line.split(' ')).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
}
