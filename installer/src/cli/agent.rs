//! What the agent has to be told.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use knap_client::Endpoint;
use knap_protocol::NodeFile;

use super::{HostPaths, PluginSettings};
use crate::agent::REAP_INTERVAL;

/// The variables that Kubernetes gives every pod in the namespace of a Service `knap-resolver`.
const SERVICE_HOST: &str = "KNAP_RESOLVER_SERVICE_HOST";
const SERVICE_PORT: &str = "KNAP_RESOLVER_SERVICE_PORT";

/// The node agent.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("credential").required(true).args(["service_account_token", "token_file"]))]
pub struct Agent {
    /// How to install the plugin.
    #[command(flatten)]
    pub(crate) plugin: PluginSettings,
    /// The resolver's URL, as the host reaches it; may be given several times, and is tried in order. Where absent, the
    /// Service `knap-resolver` of this pod's namespace.
    #[arg(long = "endpoint", env = "KNAP_ENDPOINTS", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// The projected service-account token of this pod, with audience knap-resolver. It is exchanged for the node's token,
    /// which is kept beside the node file.
    #[arg(long)]
    pub(crate) service_account_token: Option<PathBuf>,
    /// A file of the host that holds the node's token, where somebody else keeps it.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// PEM of the resolver's authorities, as mounted from the ConfigMap knap-ca. A copy is kept beside the node file.
    #[arg(long)]
    pub(crate) ca_bundle: Option<PathBuf>,
    /// A file of the host with the resolver's authorities, where somebody else keeps it.
    #[arg(long, conflicts_with = "ca_bundle")]
    ca_file: Option<PathBuf>,
    /// The address by which other nodes reach this one.
    #[arg(long, env = "NODE_IP")]
    pub(crate) node_ip: Option<IpAddr>,
    /// Where /healthz and /readyz are served; the network is the host's, so loopback.
    #[arg(long, default_value = "127.0.0.1:4181")]
    pub(crate) health_address: SocketAddr,
    /// The host's folder of network namespaces.
    #[arg(long, default_value = "/var/run/netns")]
    pub(crate) netns_dir: PathBuf,
    /// A folder of the host with delegate plugins, beside that of the runtime; may be given several times.
    #[arg(long = "delegate-dir")]
    pub(crate) delegate_dirs: Vec<PathBuf>,
    /// A CNI plugin that is asked its versions beside the well-known ones; may be given several times.
    #[arg(long = "delegate")]
    pub(crate) delegates: Vec<String>,
    /// Between looks at the host's files and links. Seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) interval: u64,
    /// Between runs of `knap reap`, at most. Seconds.
    #[arg(long, default_value_t = REAP_INTERVAL, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) reap_interval: u64,
    /// Remove everything once no attachment is left, and then do nothing until SIGTERM; ready means removed.
    #[arg(long)]
    pub(crate) uninstall: bool,
    /// The kernel's view of links.
    #[arg(long, default_value = "/sys", hide = true)]
    pub(crate) sysfs: PathBuf,
    /// A file of the host to read the boot ID from; plugins built for tests follow it.
    #[arg(long, hide = true)]
    pub(crate) boot_id_file: Option<PathBuf>,
}

impl Agent {
    /// Where the resolver is.
    pub(crate) fn endpoints(&self) -> anyhow::Result<Vec<Endpoint>> {
        let variable = |name| std::env::var(name).ok();
        let service = || service_endpoint(&variable(SERVICE_HOST)?, &variable(SERVICE_PORT)?);
        let texts =
            if self.endpoints.is_empty() { Vec::from_iter(service()) } else { self.endpoints.clone() };
        ensure!(
            !texts.is_empty(),
            "name the resolver with --endpoint, or run beside a Service knap-resolver"
        );
        texts.iter().map(|text| Endpoint::parse(text).context("a resolver's endpoint")).collect()
    }

    /// The node file that these arguments describe.
    pub(crate) fn node_file(&self, paths: &HostPaths, endpoints: &[Endpoint]) -> NodeFile {
        let endpoints: Vec<String> = endpoints.iter().map(|endpoint| endpoint.as_str().to_owned()).collect();
        let ca_file = match &self.ca_bundle {
            Some(_) => Some(paths.ca_file()),
            None => self.ca_file.clone(),
        };
        let token_file = self.token_file.clone().unwrap_or_else(|| paths.token_file());
        let file = self.plugin.node_file(paths, &endpoints, ca_file, token_file);
        NodeFile { boot_id_file: self.boot_id_file.clone(), ..file }
    }
}

fn service_endpoint(host: &str, port: &str) -> Option<String> {
    let host = match host.parse().ok()? {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    Some(format!("https://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_address_becomes_an_endpoint() {
        let endpoint = |host: &str| service_endpoint(host, "443");
        assert_eq!(endpoint("10.96.7.7").as_deref(), Some("https://10.96.7.7:443"));
        assert_eq!(endpoint("fd00::7").as_deref(), Some("https://[fd00::7]:443"));
        assert_eq!(endpoint("tcp://10.96.7.7"), None);
    }
}
