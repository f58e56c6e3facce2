//! Provider `cni`: the administrator's own list of CNI plugins as a template.
//!
//! A plugin in it with `"ipam": {"type": "knap"}` gets the lease's addresses, routes and name resolution; everything
//! else is left as written.

use std::collections::BTreeSet;

use serde_json::Value;

use super::attachment::{KNAP, check_plugin};
use super::parameter::{self, Parameter};
use super::{Attachment, JsonObject, LeaseFacts, NodeFacts, Provider, ProviderError, ipam};
use crate::{Class, Grant, IpamMode, MacSource, NetworkIntent, Plan, Profile};

#[cfg(test)]
mod tests;

const NAME: &str = "cni";

const PLUGINS: &str = "plugins";
const PARAMETERS: [Parameter; 1] = [Parameter::any(PLUGINS)];
const EXPECTED: &str = "a list of CNI plugin configurations, at least one";
/// What a template may say in an ipam of Knap's.
const IPAM_KEYS: [&str; 3] = ["type", "routes", "dns"];
/// What the plugin that runs the delegates fills in.
const RUNTIME_KEYS: [&str; 2] = ["prevResult", "runtimeConfig"];

/// See the module.
#[derive(Debug)]
pub(super) struct Cni;

impl Provider for Cni {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self, class: &Class) -> Result<(), ProviderError> {
        parameter::check(NAME, &PARAMETERS, &class.parameters)?;
        for (index, plugin) in template(&class.parameters)?.into_iter().enumerate() {
            check_plugin(index + 1, plugin)?;
            check_keys(plugin)?;
        }
        let unused = [("uplinks", class.uplinks.is_empty()), ("segments", class.segments.is_none())];
        match unused.into_iter().find(|(_, unset)| !unset) {
            Some((field, _)) => Err(ProviderError::Unsupported {
                provider: NAME,
                field,
                remedy: "remove it, and say it in the template: nothing is interpolated there",
            }),
            None => Ok(()),
        }
    }

    fn profile(&self, class: &Class) -> Profile {
        Profile {
            gateway_by_default: false,
            routed: false,
            own_segment: false,
            addresses: has_plugin(&class.parameters, uses_lease),
            exclusive: Vec::new(),
        }
    }

    fn delegates(&self, class: &Class) -> BTreeSet<String> {
        let plugins = template(&class.parameters).unwrap_or_default();
        let kind = |config: &JsonObject| config.get("type").and_then(Value::as_str).map(str::to_owned);
        let ipams = plugins.iter().filter_map(|plugin| plugin.get("ipam").and_then(Value::as_object));
        let ipams = ipams.filter_map(kind).filter(|ipam| ipam != KNAP);
        plugins.iter().filter_map(|plugin| kind(plugin)).chain(ipams).collect()
    }

    fn plan(&self, network: &NetworkIntent, class: &Class, grant: &Grant) -> Result<Plan, ProviderError> {
        let mut plan = Plan::of(network, class, grant)?;
        plan.mac = mac_source(&class.parameters);
        plan.needs_device = class.resource_name.is_some();
        Ok(plan)
    }

    fn configs(
        &self,
        plan: &Plan,
        _node: &NodeFacts,
        lease: &LeaseFacts,
    ) -> Result<Attachment, ProviderError> {
        let mut plugins = Vec::new();
        for plugin in template(&plan.parameters)? {
            plugins.push(filled(plugin, plan, lease)?);
        }
        Ok(Attachment { plugins, host_links: Vec::new(), mtu: None })
    }
}

/// The template's plugins.
fn template(parameters: &JsonObject) -> Result<Vec<&JsonObject>, ProviderError> {
    let value = parameters.get(PLUGINS).unwrap_or(&Value::Null);
    let plugins: Option<Vec<_>> =
        value.as_array().and_then(|plugins| plugins.iter().map(Value::as_object).collect());
    plugins.filter(|plugins| !plugins.is_empty()).ok_or_else(|| ProviderError::InvalidParameter {
        provider: NAME,
        parameter: PLUGINS.to_owned(),
        value: value.clone(),
        expected: EXPECTED.to_owned(),
    })
}

/// A plugin of the template with the lease in its ipam, if that is Knap's.
fn filled(plugin: &JsonObject, plan: &Plan, lease: &LeaseFacts) -> Result<JsonObject, ProviderError> {
    let mut config = plugin.clone();
    if !uses_lease(plugin) {
        return Ok(config);
    }
    let mut filled = ipam::ipam(plan, lease)?;
    if plan.ipam == IpamMode::Managed {
        keep_template(plugin, &mut filled);
    }
    config.insert("ipam".to_owned(), Value::Object(filled));
    if let Some(dns) = ipam::dns(plan) {
        config.insert("dns".to_owned(), dns);
    }
    Ok(config)
}

/// The template's routes come before the Network's; its name resolution counts where the Network says nothing.
fn keep_template(plugin: &JsonObject, filled: &mut JsonObject) {
    let Some(written) = plugin.get("ipam").and_then(Value::as_object) else { return };
    if let Some(Value::Array(routes)) = written.get("routes") {
        let mut routes = routes.clone();
        if let Some(Value::Array(own)) = filled.remove("routes") {
            routes.extend(own);
        }
        filled.insert("routes".to_owned(), Value::Array(routes));
    }
    if let Some(dns) = written.get("dns") {
        filled.entry("dns").or_insert_with(|| dns.clone());
    }
}

/// Whether a plugin's addresses come from the lease.
fn uses_lease(plugin: &JsonObject) -> bool {
    plugin.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str) == Some(KNAP)
}

/// Whether a plugin sets the hardware address that it is given.
fn sets_mac(plugin: &JsonObject) -> bool {
    plugin.get("capabilities").and_then(|capabilities| capabilities.get("mac")) == Some(&Value::Bool(true))
}

fn has_plugin(parameters: &JsonObject, is_it: fn(&JsonObject) -> bool) -> bool {
    template(parameters).is_ok_and(|plugins| plugins.into_iter().any(is_it))
}

fn mac_source(parameters: &JsonObject) -> MacSource {
    if has_plugin(parameters, sets_mac) { MacSource::Lease } else { MacSource::Device }
}

fn check_keys(plugin: &JsonObject) -> Result<(), ProviderError> {
    if let Some(key) = RUNTIME_KEYS.into_iter().find(|key| plugin.contains_key(*key)) {
        return Err(ProviderError::Contradiction {
            what: format!("the template has {key:?}, which is filled in when a plugin runs"),
            remedy: "remove it",
        });
    }
    let ipam = plugin.get("ipam").and_then(Value::as_object).filter(|_| uses_lease(plugin));
    match ipam.into_iter().flat_map(JsonObject::keys).find(|key| !IPAM_KEYS.contains(&key.as_str())) {
        Some(key) => Err(ProviderError::Contradiction {
            what: format!(
                "the template has {key:?} in an ipam of type knap, whose addresses come from leases"
            ),
            remedy: "remove it, or name another ipam plugin",
        }),
        None => Ok(()),
    }
}
