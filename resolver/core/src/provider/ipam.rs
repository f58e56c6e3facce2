//! The parts of a delegate's configuration that carry a lease: `ipam` and `dns`.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde_json::{Value, json};

use super::attachment::KNAP;
use super::{JsonObject, LeaseFacts, ProviderError};
use crate::{IpamMode, Plan};

/// A delegate's configuration: its type, the capabilities that it declares, and the lease's addresses.
///
/// Name resolution is there twice: plugins take it from the top level, results of IPAM plugins from `ipam`.
pub(super) fn delegate(
    kind: &str,
    capabilities: &[&str],
    plan: &Plan,
    lease: &LeaseFacts,
) -> Result<JsonObject, ProviderError> {
    let capabilities = capabilities.iter().map(|name| ((*name).to_owned(), Value::Bool(true)));
    let mut config = JsonObject::new();
    config.insert("type".to_owned(), kind.into());
    config.insert("capabilities".to_owned(), Value::Object(capabilities.collect()));
    config.insert("ipam".to_owned(), Value::Object(ipam(plan, lease)?));
    if let Some(dns) = dns(plan) {
        config.insert("dns".to_owned(), dns);
    }
    Ok(config)
}

/// The `ipam` of a delegate: Knap's own with the addresses of a lease, DHCP's, or none, for layer 2 only.
pub(super) fn ipam(plan: &Plan, lease: &LeaseFacts) -> Result<JsonObject, ProviderError> {
    let mut ipam = JsonObject::new();
    match plan.ipam {
        IpamMode::None => {}
        IpamMode::Dhcp => {
            ipam.insert("type".to_owned(), "dhcp".into());
        }
        IpamMode::Managed => {
            ipam.insert("type".to_owned(), KNAP.into());
            ipam.insert("addresses".to_owned(), addresses(plan, lease)?);
            if !plan.routes.is_empty() {
                ipam.insert("routes".to_owned(), Value::Array(routes(plan)));
            }
            if let Some(dns) = dns(plan) {
                ipam.insert("dns".to_owned(), dns);
            }
        }
    }
    Ok(ipam)
}

/// Name resolution in CNI's shape; none where there is nothing to say.
pub(super) fn dns(plan: &Plan) -> Option<Value> {
    let dns = &plan.dns;
    let mut object = JsonObject::new();
    if !dns.nameservers.is_empty() {
        object.insert("nameservers".to_owned(), json!(dns.nameservers));
    }
    if let Some(domain) = &dns.domain {
        object.insert("domain".to_owned(), json!(domain));
    }
    if !dns.search.is_empty() {
        object.insert("search".to_owned(), json!(dns.search));
    }
    (!object.is_empty()).then_some(Value::Object(object))
}

/// Routes in the shape of the `static` plugin. Host bits are masked: the kernel refuses a destination with them.
pub(super) fn routes(plan: &Plan) -> Vec<Value> {
    let route = |route: &crate::Route| {
        let destination = format!("{}/{}", route.destination.network(), route.destination.prefix());
        match route.gateway {
            Some(gateway) => json!({ "dst": destination, "gw": gateway }),
            None => json!({ "dst": destination }),
        }
    };
    plan.routes.iter().map(route).collect()
}

fn addresses(plan: &Plan, lease: &LeaseFacts) -> Result<Value, ProviderError> {
    if lease.addresses.is_empty() {
        return Err(ProviderError::NoAddress { network: plan.network.to_string() });
    }
    lease.addresses.iter().map(|address| address_entry(plan, address)).collect()
}

fn address_entry(plan: &Plan, address: &IpNetwork) -> Result<Value, ProviderError> {
    let gateway: Option<IpAddr> = plan
        .subnet_of(address.ip())
        .ok_or_else(|| ProviderError::ForeignAddress {
            network: plan.network.to_string(),
            address: address.ip(),
        })?
        .gateway;
    Ok(match gateway {
        Some(gateway) => json!({ "address": address, "gateway": gateway }),
        None => json!({ "address": address }),
    })
}
