//! The arguments of `webhooks`.

use std::str::FromStr;

use clap::Args;

use crate::admission::RawPolicy;

/// Arguments of `webhooks`.
#[derive(Debug, Clone, Args)]
pub struct WebhooksArgs {
    /// Service by which the API server reaches the resolver
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "knap-system/knap-resolver")]
    pub service: ServiceName,
    /// The Service's port
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    pub port: u16,
    /// Address of the resolver, where there is no Service
    #[arg(long, value_name = "URL", conflicts_with_all = ["service", "port"], value_parser = https)]
    pub url: Option<String>,
    /// For Kubernetes before 1.30: pods pass while the resolver is down, since all of them would be asked about
    #[arg(long)]
    pub without_match_conditions: bool,
    /// As given to `serve`: with `refuse`, such definitions are refused while the resolver is down too
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    pub raw_attachments: RawPolicy,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl FromStr for ServiceName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("write namespace and name, as in knap-system/knap-resolver"),
        }
    }
}

/// The API server takes no other.
fn https(text: &str) -> Result<String, &'static str> {
    if text.starts_with("https://") { Ok(text.to_owned()) } else { Err("write https://ADDRESS:PORT") }
}
