//! What one attachment to a planned Network would run. Pure.

use knap_api::Network;
use knap_core::provider::provider;
use knap_core::{
    Attachment, Class, Grant, HostLink, JsonObject, Layout, LeaseFacts, Mac, MacSource, NodeFacts, Plan,
};
use serde::Serialize;

use crate::provision::Granted;
use crate::translate;

/// An attachment, as it would be made on one node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Example {
    pub(super) node: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mac: Option<String>,
    pub(super) needs_device: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) host_links: Vec<HostLink>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) plugins: Vec<JsonObject>,
    /// Why this node can't attach anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

impl Example {
    /// Of a Network that has been granted what it needs.
    pub(super) fn of(network: &Network, class: &Class, node: &NodeFacts) -> Self {
        let mut example = Self {
            node: node.name.clone(),
            addresses: Vec::new(),
            mac: None,
            needs_device: false,
            host_links: Vec::new(),
            plugins: Vec::new(),
            refused: None,
        };
        if let Err(reason) = example.fill(network, class, node) {
            example.refused = Some(reason);
        }
        example
    }

    fn fill(&mut self, network: &Network, class: &Class, node: &NodeFacts) -> Result<(), String> {
        let (plan, grant) = planned(network, class)?;
        let provider = provider(&plan.provider).ok_or("its provider does not exist")?;
        let lease = first_lease(&plan, &grant)?;
        let Attachment { plugins, host_links, .. } =
            provider.configs(&plan, node, &lease).map_err(|error| error.to_string())?;
        self.addresses = lease.addresses.iter().map(ToString::to_string).collect();
        self.mac = lease.mac.map(|mac| mac.to_string());
        self.needs_device = plan.needs_device;
        self.host_links = host_links;
        self.plugins = plugins;
        Ok(())
    }
}

fn planned(network: &Network, class: &Class) -> Result<(Plan, Grant), String> {
    let intent = translate::network(network).map_err(|error| error.to_string())?;
    let granted = Granted::of(network).map_err(|error| error.to_string())?;
    let layout = if granted.subnets.is_empty() {
        Layout::without_addresses()
    } else {
        Layout::new(granted.subnets, intent.reserved.clone()).map_err(|error| error.to_string())?
    };
    let mac_code = granted.mac_code.ok_or("it has no MAC code")?;
    let grant = Grant { mac_code, vlan: granted.vlan, vni: granted.vni, layout };
    let provider = provider(&class.provider).ok_or("its provider does not exist")?;
    let plan = provider.plan(&intent, class, &grant).map_err(|error| error.to_string())?;
    Ok((plan, grant))
}

/// The lease of the first slot; which one an attachment gets depends on where it is.
fn first_lease(plan: &Plan, grant: &Grant) -> Result<LeaseFacts, String> {
    let slot = grant.layout.usable_slots().nth(0).ok_or("it has no address to give out")?;
    let mac = (plan.mac == MacSource::Lease).then(|| Mac::of(grant.mac_code, slot));
    Ok(LeaseFacts { addresses: grant.layout.addresses(slot).unwrap_or_default(), mac })
}
